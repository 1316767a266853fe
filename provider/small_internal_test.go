package provider

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	pkgerrors "github.com/pkg/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/portlayer"
)

func TestErrorsInVirtualKubeletsForm(t *testing.T) {
	other := errors.New("other")
	tests := map[string]struct {
		err                    error
		notFound, invalidInput bool
	}{
		"what the port layer does not find is not found": {fmt.Errorf("x: %w", portlayer.ErrNotFound), true, false},
		"what the API server does not find is not found": {apierrors.NewNotFound(corev1.Resource("pods"), "x"), true, false},
		"what a host can't do at all is invalid input":   {fmt.Errorf("x: %w", portlayer.ErrUnsupported), false, true},
		"what the API server refuses is invalid input":   {apierrors.NewBadRequest("x"), false, true},
		"anything else stays what it is":                 {other, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := toVK(tt.err)
			assert.Equal(t, tt.notFound, errdefs.IsNotFound(got))
			assert.Equal(t, tt.invalidInput, errdefs.IsInvalidInput(got))
			require.ErrorIs(t, got, tt.err)
			assert.Equal(t, tt.err.Error(), got.Error())
		})
	}
	require.NoError(t, toVK(nil))
}

func TestVirtualKubeletsLog(t *testing.T) {
	failed := pkgerrors.New("failed")
	tests := map[string]struct {
		say  func(l vklog.Logger)
		want string
	}{
		"an error is logged by its text, without a stack": {
			func(l vklog.Logger) { l.WithError(failed).Error("writing status") },
			`level=WARN msg="virtual kubelet said" err=failed message="writing status"` + "\n",
		},
		"an error as argument is one": {
			func(l vklog.Logger) { l.Error(failed) }, `level=WARN msg="virtual kubelet said" message=failed` + "\n",
		},
		"what is cut off by the end of the program is no news": {
			func(l vklog.Logger) { l.WithError(fmt.Errorf("x: %w", context.Canceled)).Error("writing status") }, "",
		},
		"what Virtual Kubelet is about to do is no news": {
			func(l vklog.Logger) {
				l.Error("Force deleting pod in running state")
				l.Info("x")
				l.Warnf("%d", 1)
				l.Debug("y")
			}, "",
		},
		"values are kept and whole objects are not": {
			func(l vklog.Logger) {
				l.WithFields(vklog.Fields{"key": "n/p"}).WithField("pod", &corev1.Pod{}).WithError(nil).Errorf("x: %v", failed)
			}, `level=WARN msg="virtual kubelet said" key=n/p message="x: failed"` + "\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			noTime := func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}
			tt.say(vkLogger{l: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: noTime}))})
			assert.Equal(t, tt.want, out.String())
		})
	}
	assert.PanicsWithValue(t, "end", func() { vkLogger{l: slog.New(slog.DiscardHandler)}.Fatal("end") })
}

func TestQueuesSlowDownOnlyWhatFails(t *testing.T) {
	limiter := newLimiter()
	for i := range 1000 {
		require.LessOrEqual(t, limiter.When(i), retryBase, "the first try of each")
	}
	for range 50 {
		limiter.When("failing")
	}
	assert.Equal(t, retryMax, limiter.When("failing"))
	delay, err := retryForever(t.Context(), "k", 1000, time.Time{}, errors.New("away"))
	require.NoError(t, err)
	assert.Nil(t, delay)
}

func TestVirtualKubeletsSuccessesAreNoEvents(t *testing.T) {
	events := record.NewFakeRecorder(10)
	q := quietRecorder{events}
	q.Event(podOf("1"), corev1.EventTypeNormal, "ProviderCreateSuccess", "x")
	q.Eventf(podOf("1"), corev1.EventTypeNormal, "ProviderUpdateSuccess", "x")
	q.Event(podOf("1"), corev1.EventTypeWarning, "ProviderCreateFailed", "x")
	q.Eventf(podOf("1"), corev1.EventTypeNormal, "Pulled", "%s", "y")
	assert.Equal(t, "Warning ProviderCreateFailed x", <-events.Events)
	assert.Equal(t, "Normal Pulled y", <-events.Events)
	assert.Empty(t, events.Events)
}

func TestClientsDoNotShareALimit(t *testing.T) {
	clients, err := NewClients(&rest.Config{Host: "https://127.0.0.1:1"}, "vic/test")
	require.NoError(t, err)
	assert.Nil(t, clients.Main.CoreV1().RESTClient().GetRateLimiter())
	assert.InDelta(t, eventsQPS, clients.Events.CoreV1().RESTClient().GetRateLimiter().QPS(), 0.1)
	tokens, access := clients.Tokens.CoreV1().RESTClient().GetRateLimiter(), clients.Access.CoreV1().RESTClient().GetRateLimiter()
	assert.InDelta(t, reviewQPS, tokens.QPS(), 0.1)
	assert.InDelta(t, reviewQPS, access.QPS(), 0.1)
	assert.NotSame(t, tokens, access, "tokens that nobody knows hold up nobody who has a certificate")
	_, err = clients.Check(t.Context())
	require.ErrorContains(t, err, "connection refused")
	_, err = NewClients(&rest.Config{Host: "://"}, "vic/test")
	require.Error(t, err)
}
