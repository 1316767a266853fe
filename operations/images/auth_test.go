package images_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/internal/testevents"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/images/imagestest"
	"github.com/virtual-kubelet/vic/persona"
)

// pullSecret is a secret with a password for host.
func pullSecret(uid types.UID, host, password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{UID: uid}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{".dockerconfigjson": fmt.Appendf(nil, `{"auths":{%q:{"username":"me","password":%q}}}`, host, password)},
	}
}

func withSecrets(names ...string) *corev1.Pod {
	p := pod()
	for _, name := range names {
		p.Spec.ImagePullSecrets = append(p.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return p
}

// nodeCredentials are everyone's.
type nodeCredentials []persona.Credentials

func (n nodeCredentials) Lookup(context.Context, string) ([]persona.Credentials, error) {
	return n, errors.New("another provider failed")
}

func TestPullUsesThePodsSecretsAndThenTheNodes(t *testing.T) {
	s, ev := imagestest.NewStore(), &testevents.Recorder{}
	m := images.New(images.Config{
		Store: s, Parallel: 1, Events: ev, Node: nodeCredentials{{Username: "node"}},
		Secrets: secrets{
			"one":   pullSecret("u1", "example.com", "p1"),
			"two":   pullSecret("u2", "example.com", "p2"),
			"other": pullSecret("u3", "other.example", "p3"),
			"old":   {ObjectMeta: metav1.ObjectMeta{UID: "u4"}, Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{".dockercfg": []byte(`{"example.com":{"username":"me","password":"p4"}}`)}},
		},
	})
	p := withSecrets("one", "", "other", "two", "old")
	_, err := m.Ensure(t.Context(), p, &p.Spec.Containers[0])
	require.NoError(t, err)
	assert.Equal(t, [][]persona.Credentials{{
		{Username: "me", Password: "p1", Holder: "u1"},
		{Username: "me", Password: "p2", Holder: "u2"},
		{Username: "me", Password: "p4", Holder: "u4"},
		{Username: "node"},
	}}, s.Auth)
	assert.Zero(t, ev.Count("Warning"), ev)
}

func TestAnUnusableSecretIsReportedAndLeftOut(t *testing.T) {
	s, ev := imagestest.NewStore(), &testevents.Recorder{}
	m := images.New(images.Config{
		Store: s, Parallel: 1, Events: ev,
		Secrets: secrets{
			"good":   pullSecret("u1", "example.com", "p1"),
			"opaque": {Type: corev1.SecretTypeOpaque},
			"broken": {Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{".dockerconfigjson": []byte("hunter2")}},
		},
	})
	p := withSecrets("missing", "opaque", "good", "broken")
	_, err := m.Ensure(t.Context(), p, &p.Spec.Containers[0])
	require.NoError(t, err)
	require.Len(t, s.Auth, 1)
	assert.Len(t, s.Auth[0], 1)
	assert.Equal(t, 1, ev.Count("Warning FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (missing, opaque: its type is Opaque, "+
		"not kubernetes.io/dockerconfigjson, broken: no configuration of Docker: it is not JSON at byte 1); attempting to pull the image may not succeed."), ev)
}

// private is an image that the holder's credentials have brought.
func private(ref, repository, holder string) persona.Image {
	img := imagestest.Image(ref)
	img.Grants = map[string]persona.Grant{repository: {Holders: []string{holder}}}
	return img
}

func TestPrivateImageIsNotForPodsThatCouldNotPullIt(t *testing.T) {
	const ref = "example.com/app:1"
	known := secrets{"good": pullSecret("u1", "example.com", "p1"), "new": pullSecret("u2", "example.com", "p2")}
	refused := fmt.Errorf("pull: %w", persona.ErrUnauthorized)
	tests := map[string]struct {
		policy  corev1.PullPolicy
		secrets []string
		failing error
		pulls   int
		reason  string // of the failure; empty: there is none
	}{
		"who pulled it before has it":                    {corev1.PullIfNotPresent, []string{"good"}, refused, 0, ""},
		"so has a pod with policy Never":                 {corev1.PullNever, []string{"good"}, refused, 0, ""},
		"who has no secret has to ask":                   {corev1.PullIfNotPresent, nil, refused, 1, "ErrImagePull"},
		"who has another secret has to ask":              {corev1.PullIfNotPresent, []string{"new"}, refused, 1, "ErrImagePull"},
		"who has another secret that works has it":       {corev1.PullIfNotPresent, []string{"new"}, nil, 1, ""},
		"who may not ask and has no secret has it never": {corev1.PullNever, nil, nil, 0, "ErrImageNeverPull"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, ev := imagestest.NewStore(), &testevents.Recorder{}
			s.Failing = tt.failing
			s.Local[ref] = private(ref, "example.com/app", "u1")
			m := images.New(images.Config{Store: s, Parallel: 1, Events: ev, Secrets: known})
			p := withSecrets(tt.secrets...)
			p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = ref, tt.policy
			_, isLocal := m.Local(p, &p.Spec.Containers[0])
			assert.False(t, isLocal, "the VM is not made with it before the credentials are known")
			_, err := m.Ensure(t.Context(), p, &p.Spec.Containers[0])
			assert.Equal(t, tt.pulls, s.Pulls())
			if tt.reason == "" {
				require.NoError(t, err, ev)
				return
			}
			failure, ok := errors.AsType[*images.Error](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, tt.reason, failure.Reason)
		})
	}
}

func TestPullsWithOtherCredentialsAreOtherPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := imagestest.NewStore()
		s.Gate = make(chan struct{})
		m := images.New(images.Config{
			Store: s, Parallel: 3, Events: &testevents.Recorder{},
			Secrets: secrets{"one": pullSecret("u1", "example.com", "p1"), "two": pullSecret("u2", "example.com", "p2")},
		})
		for _, secret := range []string{"one", "two", "one", ""} {
			p := withSecrets(secret)
			go func() { // ends with the bubble
				_, err := m.Ensure(t.Context(), p, &p.Spec.Containers[0])
				assert.NoError(t, err)
			}()
		}
		synctest.Wait()
		close(s.Gate)
		synctest.Wait()
		assert.Equal(t, 3, s.Pulls())
	})
}

func TestALongPullReportsItsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ev := &testevents.Recorder{}
		s := &slowStore{imagestest.NewStore()}
		p := withSecrets()
		_, err := newManager(s, 1, ev).Ensure(t.Context(), p, &p.Spec.Containers[0])
		require.NoError(t, err)
		assert.Equal(t, 2, ev.Count("Normal PullProgress Pulling image "), "after 30 s and after 90: %s", ev)
		assert.Equal(t, 1, ev.Count(fmt.Sprintf("Normal PullProgress Pulling image %q: 30 of 120 MiB, layer 1 of 2", p.Spec.Containers[0].Image)), ev)
	})
}

// slowStore brings a MiB a second, 120 of them.
type slowStore struct{ *imagestest.Store }

func (s *slowStore) Pull(ctx context.Context, ref string, opts persona.PullOptions) (persona.Image, error) {
	for i := range 120 {
		if i == 1 {
			sleep(time.Second / 2) // never at the moment of an event
		}
		opts.Progress(persona.Progress{Layer: 1 + i/60, Layers: 2, Bytes: int64(i+1) << 20, TotalBytes: 120 << 20})
		sleep(time.Second)
	}
	return s.Store.Pull(ctx, ref, opts)
}
