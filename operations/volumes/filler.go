package volumes

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/downward"
)

// filler collects the files of one volume. Of two sources that write one path the later one wins.
type filler struct {
	*Resolver
	pod     *corev1.Pod
	in      Inputs
	mode    uint32 // where a file has none of its own
	user    *int64 // likewise; nil is root
	files   map[string]wire.File
	refresh time.Time
}

// selection is what a volume takes of a config map or secret; no items is all of it.
type selection struct {
	name     string
	items    []corev1.KeyToPath
	optional bool
}

func (f *filler) configMap(ctx context.Context, s selection) error {
	cm, err := f.objects.ConfigMap(ctx, f.pod.Namespace, s.name)
	if err != nil {
		return unlessOptional("configmap", err, s)
	}
	data := make(map[string][]byte, len(cm.Data)+len(cm.BinaryData))
	maps.Copy(data, cm.BinaryData)
	for k, v := range cm.Data {
		data[k] = []byte(v)
	}
	return f.take(data, s, "configmap references non-existent config key: %s")
}

func (f *filler) secret(ctx context.Context, s selection) error {
	secret, err := f.objects.Secret(ctx, f.pod.Namespace, s.name)
	if err != nil {
		return unlessOptional("secret", err, s)
	}
	return f.take(secret.Data, s, "references non-existent secret key: %s")
}

// unlessOptional forgives the absence of an optional object, and nothing else.
func unlessOptional(kind string, err error, s selection) error {
	switch {
	case !apierrors.IsNotFound(err):
		return err
	case s.optional:
		return nil
	}
	return fmt.Errorf("%s %q not found", kind, s.name)
}

func (f *filler) take(data map[string][]byte, s selection, missing string) error {
	if len(s.items) == 0 {
		for key, value := range data {
			f.put(wire.File{Path: key, Mode: f.mode, User: f.user, Data: value})
		}
		return nil
	}
	for _, item := range s.items {
		value, ok := data[item.Key]
		switch {
		case ok:
			f.put(wire.File{Path: item.Path, Mode: modeOr(item.Mode, f.mode), User: cmp.Or(item.User, f.user), Data: value})
		case !s.optional:
			return fmt.Errorf(missing, item.Key)
		}
	}
	return nil
}

func (f *filler) downward(items []corev1.DownwardAPIVolumeFile) error {
	for i := range items {
		item := &items[i]
		value, err := f.reference(item)
		if err != nil {
			return err
		}
		f.put(wire.File{Path: item.Path, Mode: modeOr(item.Mode, f.mode), User: cmp.Or(item.User, f.user), Data: []byte(value)})
	}
	return nil
}

func (f *filler) reference(item *corev1.DownwardAPIVolumeFile) (string, error) {
	switch {
	case item.FieldRef != nil:
		return downward.Field(f.pod, item.FieldRef, f.in)
	case item.ResourceFieldRef != nil:
		return downward.Resource(f.pod, nil, item.ResourceFieldRef, f.in)
	}
	return "", fmt.Errorf("downward API file %s has no source", item.Path)
}

func (f *filler) token(ctx context.Context, p *corev1.ServiceAccountTokenProjection) error {
	token, refresh, err := f.tokens.get(ctx, f.pod, p)
	if err != nil {
		return err
	}
	if f.refresh.IsZero() || refresh.Before(f.refresh) {
		f.refresh = refresh
	}
	file := wire.File{Path: p.Path, Mode: f.mode, User: cmp.Or(p.User, f.user), Data: []byte(token)}
	if file.User != nil {
		file.Mode = tokenMode
	}
	f.put(file)
	return nil
}

func (f *filler) put(file wire.File) { f.files[file.Path] = file }

// sorted returns the files in the order of their paths, so that equal volumes are equal.
func (f *filler) sorted() ([]wire.File, error) {
	files, size := make([]wire.File, 0, len(f.files)), 0
	for _, path := range slices.Sorted(maps.Keys(f.files)) {
		files = append(files, f.files[path])
		size += len(f.files[path].Data)
	}
	if size > maxVolumeBytes {
		return nil, fmt.Errorf("its files hold %d bytes, more than the %d that a volume may have", size, maxVolumeBytes)
	}
	return files, nil
}
