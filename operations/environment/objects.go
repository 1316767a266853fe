package environment

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"
)

// ReasonInvalidEnvironmentVariableNames is the event of keys that envFrom skipped because no variable can have such a name.
const ReasonInvalidEnvironmentVariableNames = "InvalidEnvironmentVariableNames"

// kind is a kind of object that variables come from. Virtual Kubelet's event reasons are made of its title, such as
// OptionalConfigMapNotFound, MandatorySecretKeyNotFound and FailedToReadMandatorySecret.
type kind string

const (
	configMap kind = "ConfigMap"
	secret    kind = "Secret"
)

func (k kind) lower() string { return strings.ToLower(string(k)) }

// reference names an object, or one key in it.
type reference struct {
	kind     kind
	name     string
	key      string
	optional bool
}

// importance is the word in an event's reason.
func (r reference) importance() string {
	if r.optional {
		return "Optional"
	}
	return "Mandatory"
}

// reader reads objects of one pod for one container, each once.
type reader struct {
	*Resolver
	pod  *corev1.Pod
	seen map[reference]map[string]string
}

// data returns what the object holds; nil without an error is an optional one that is not there.
func (r *reader) data(ctx context.Context, ref reference) (map[string]string, error) {
	id := reference{kind: ref.kind, name: ref.name}
	if data, ok := r.seen[id]; ok {
		return data, nil
	}
	data, err := r.read(ctx, ref)
	switch {
	case err == nil:
		r.seen[id] = data
		return data, nil
	case apierrors.IsNotFound(err):
		r.warn(ref.importance()+string(ref.kind)+"NotFound", "%s %q not found", ref.kind.lower(), ref.name)
		if ref.optional {
			return nil, nil
		}
		return nil, configError("%s %q not found", ref.kind.lower(), ref.name)
	default:
		r.warn("FailedToRead"+ref.importance()+string(ref.kind), "failed to read %s %q", ref.kind.lower(), ref.name)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("read %s %s/%s: %w", ref.kind.lower(), r.pod.Namespace, ref.name, err)
	}
	return nil, configError("%v", err)
}

func (r *reader) read(ctx context.Context, ref reference) (map[string]string, error) {
	if ref.kind == configMap {
		cm, err := r.cfg.Objects.ConfigMap(ctx, r.pod.Namespace, ref.name)
		if err != nil {
			return nil, err
		}
		return notNil(cm.Data), nil
	}
	s, err := r.cfg.Objects.Secret(ctx, r.pod.Namespace, ref.name)
	if err != nil {
		return nil, err
	}
	data := make(map[string]string, len(s.Data))
	for k, v := range s.Data {
		data[k] = string(v)
	}
	return data, nil
}

func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// value returns the value of one key; ok is false where it is optional and not there.
func (r *reader) value(ctx context.Context, ref reference) (value string, ok bool, err error) {
	data, err := r.data(ctx, ref)
	if err != nil || data == nil {
		return "", false, err
	}
	if value, ok = data[ref.key]; ok {
		return value, true, nil
	}
	r.warn(ref.importance()+string(ref.kind)+"KeyNotFound", "key %q does not exist in %s %q", ref.key, ref.kind.lower(), ref.name)
	if ref.optional {
		return "", false, nil
	}
	return "", false, configError("couldn't find key %s in %s %s/%s", ref.key, ref.kind, r.pod.Namespace, ref.name)
}

// all adds every key of an object to vars, sorted, with prefix before it.
func (r *reader) all(ctx context.Context, ref reference, prefix string, vars *variables) error {
	data, err := r.data(ctx, ref)
	if err != nil {
		return err
	}
	var invalid []string
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if len(validation.IsEnvVarName(prefix+key)) > 0 {
			invalid = append(invalid, prefix+key)
			continue
		}
		vars.set(prefix+key, data[key])
	}
	if len(invalid) > 0 {
		r.warn(ReasonInvalidEnvironmentVariableNames,
			"keys [%s] from %s %s/%s were skipped since they are invalid as environment variable names",
			strings.Join(invalid, ", "), ref.kind.lower(), r.pod.Namespace, ref.name)
	}
	return nil
}

func (r *reader) warn(reason, format string, args ...any) {
	r.cfg.Events.Eventf(r.pod, corev1.EventTypeWarning, reason, format, args...)
}

func configError(format string, args ...any) *ConfigError {
	return &ConfigError{Reason: ReasonCreateContainerConfigError, Message: fmt.Sprintf(format, args...)}
}
