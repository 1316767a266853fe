package images_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/internal/testevents"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/images/imagestest"
	"github.com/virtual-kubelet/vic/persona"
)

// imported is an image that no registry gave.
func imported(ref string) persona.Image {
	img := imagestest.Image(ref)
	img.RepoDigests = nil
	return img
}

// newManager returns a Manager without credentials.
func newManager(s images.Store, parallel int, ev record.EventRecorder) *images.Manager {
	return images.New(images.Config{Store: s, Secrets: secrets{}, Parallel: parallel, Events: ev})
}

// secrets are by name, in whatever namespace.
type secrets map[string]*corev1.Secret

func (s secrets) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if one, ok := s[name]; ok {
		return one, nil
	}
	return nil, apierrors.NewNotFound(corev1.Resource("secrets"), name)
}

func TestEnsureFollowsThePullPolicy(t *testing.T) {
	const ref = "example.com/app:1"
	noSuch := fmt.Errorf("pull: %w", persona.ErrNotFound)
	tests := map[string]struct {
		policy  corev1.PullPolicy
		local   *persona.Image
		failing error
		pulls   int
		reason  string // of the failure; empty: there is none
		event   string
	}{
		"Always pulls what is here": {
			corev1.PullAlways, new(imagestest.Image(ref)), nil, 1, "", "Normal Pulled Successfully pulled image",
		},
		"Always fails when the registry does, whatever is here": {
			corev1.PullAlways, new(imagestest.Image(ref)), noSuch, 1, "ErrImagePull", "Warning Failed",
		},
		"Always takes an imported image when the registry does not have it": {
			corev1.PullAlways, new(imported(ref)), noSuch, 1, "", "Normal Pulled Container image \"example.com/app:1\" was imported",
		},
		"Always prefers the registry's to an imported image": {
			corev1.PullAlways, new(imported(ref)), nil, 1, "", "Normal Pulled Successfully pulled image",
		},
		"IfNotPresent takes what is here": {
			corev1.PullIfNotPresent, new(imagestest.Image(ref)), noSuch, 0, "", "Normal Pulled Container image \"example.com/app:1\" already present",
		},
		"IfNotPresent pulls what is not": {
			corev1.PullIfNotPresent, nil, nil, 1, "", "Normal Pulling",
		},
		"Never takes what is here": {
			corev1.PullNever, new(imported(ref)), noSuch, 0, "", "Normal Pulled Container image",
		},
		"Never does not pull": {
			corev1.PullNever, nil, nil, 0, "ErrImageNeverPull", "Warning ErrImageNeverPull",
		},
		"no policy means IfNotPresent for a tag": {
			"", new(imagestest.Image(ref)), noSuch, 0, "", "Normal Pulled Container image",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, ev := imagestest.NewStore(), &testevents.Recorder{}
			s.Failing = tt.failing
			if tt.local != nil {
				s.Local[ref] = *tt.local
			}
			p := pod()
			p.Spec.Containers[0].ImagePullPolicy = tt.policy
			img, err := newManager(s, 2, ev).Ensure(t.Context(), p, &p.Spec.Containers[0])
			assert.Equal(t, tt.pulls, s.Pulls())
			assert.NotZero(t, ev.Count(tt.event), ev)
			if tt.reason == "" {
				require.NoError(t, err)
				assert.NotEmpty(t, img.DiskDigest)
				return
			}
			failure, ok := errors.AsType[*images.Error](err)
			require.True(t, ok)
			assert.Equal(t, tt.reason, failure.Reason)
		})
	}
}

func TestEnsureRefusesABadName(t *testing.T) {
	store, err := persona.Open(persona.Config{Dir: t.TempDir()})
	require.NoError(t, err)
	p := pod()
	p.Spec.Containers[0].Image = "Not A Name"
	_, err = newManager(store, 1, &testevents.Recorder{}).Ensure(t.Context(), p, &p.Spec.Containers[0])
	failure, ok := errors.AsType[*images.Error](err)
	require.True(t, ok)
	assert.Equal(t, "InvalidImageName", failure.Reason)
}

func TestImportedImageDoesNotWaitForADeadRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := imagestest.NewStore()
		s.Gate = make(chan struct{})
		s.Local["example.com/app:1"] = imported("example.com/app:1")
		p := pod()
		p.Spec.Containers[0].ImagePullPolicy = corev1.PullAlways
		began := time.Now()
		_, err := newManager(s, 1, &testevents.Recorder{}).Ensure(t.Context(), p, &p.Spec.Containers[0])
		require.NoError(t, err)
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestPullsAreSharedAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &countingStore{Store: imagestest.NewStore()}
		m := newManager(s, 2, &testevents.Recorder{})
		var wg sync.WaitGroup
		for i := range 12 {
			p := pod()
			p.Spec.Containers[0].Image = fmt.Sprintf("example.com/app:%d", i%4)
			wg.Go(func() {
				_, err := m.Ensure(t.Context(), p, &p.Spec.Containers[0])
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 4, s.Pulls())
		assert.Equal(t, 2, s.most)
	})
}

// countingStore takes a second for each pull and counts those at one time.
type countingStore struct {
	*imagestest.Store
	mu        sync.Mutex // guards all below
	now, most int
}

func (c *countingStore) Pull(ctx context.Context, ref string, opts persona.PullOptions) (persona.Image, error) {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	sleep(time.Second)
	c.mu.Lock()
	c.now--
	c.mu.Unlock()
	return c.Store.Pull(ctx, ref, opts)
}

func TestPullEndsWithTheLastWhoWantsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := imagestest.NewStore()
		s.Gate = make(chan struct{})
		m := newManager(s, 1, &testevents.Recorder{})
		p := pod()
		first, cancelFirst := context.WithCancel(t.Context())
		second, cancelSecond := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for _, ctx := range []context.Context{first, second} {
			go func() {
				_, err := m.Ensure(ctx, p, &p.Spec.Containers[0])
				ended <- err
			}()
		}
		synctest.Wait()
		cancelFirst()
		require.ErrorIs(t, <-ended, context.Canceled)
		close(s.Gate)
		require.NoError(t, <-ended, "who is left gets the image")
		cancelSecond()

		s.Gate = make(chan struct{})
		p.Spec.Containers[0].Image = "example.com/app:2"
		third, cancelThird := context.WithCancel(t.Context())
		go func() {
			_, err := m.Ensure(third, p, &p.Spec.Containers[0])
			ended <- err
		}()
		synctest.Wait()
		cancelThird()
		require.ErrorIs(t, <-ended, context.Canceled)
		synctest.Wait() // the bubble ends only when the pull has
	})
}
