package provider

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// refuse has client answer patches that have part in them with err, and take those that do not. It returns those that were
// taken.
func refuse(client *fake.Clientset, part string, err error) (taken *[]string) {
	taken = &[]string{}
	client.PrependReactor("patch", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patch, _ := a.(clienttesting.PatchAction)
		if bytes.Contains(patch.GetPatch(), []byte(part)) {
			return true, nil, err
		}
		*taken = append(*taken, string(patch.GetPatch()))
		return true, podOf("1"), nil
	})
	return taken
}

// ended is a pod whose container has failed and says a lot about it.
func ended(p *corev1.Pod) {
	ending(p)
	p.Status = corev1.PodStatus{
		Phase: corev1.PodFailed, Message: "text of the pod",
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Message: "text of a condition"}},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name:                 "c",
			State:                corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Message: "text of an end"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: "text of an end before"}},
		}},
		InitContainerStatuses: []corev1.ContainerStatus{{
			Name: "i", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Message: "text of a wait"}},
		}},
	}
}

func tooLarge() error { return apierrors.NewRequestEntityTooLargeError("limit is 3145728") }

func invalid() error {
	return apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Pod").GroupKind(), "p", nil)
}

func TestAStatusThatIsRefusedIsWrittenAsFarAsItCanBe(t *testing.T) {
	tests := map[string]struct {
		refused string
		err     error
		want    []string
		not     []string
	}{
		"phase and exit codes of one that is too large": {
			"text of an end before", tooLarge(), []string{`"phase":"Failed"`, `"exitCode":3`}, []string{"text of"},
		},
		"phase and exit codes of one with a text that can't be": {
			"text of a condition", invalid(), []string{`"phase":"Failed"`, `"exitCode":3`}, []string{"text of"},
		},
		"all but the containers where one may not be as it is": {
			"containerStatuses", invalid(), []string{`"phase":"Failed"`, `"Ready"`}, []string{"ontainerStatuses"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(podOf("1"))
			taken := refuse(client, tt.refused, tt.err)
			pods := podsClient{PodsGetter: client.CoreV1()}.Pods("n")
			_, err := pods.UpdateStatus(t.Context(), podOf("1", ended), metav1.UpdateOptions{})
			require.NoError(t, err)
			require.Len(t, *taken, 1)
			for _, part := range tt.want {
				assert.Contains(t, (*taken)[0], part)
			}
			for _, part := range tt.not {
				assert.NotContains(t, (*taken)[0], part)
			}
			assert.True(t, json.Valid([]byte((*taken)[0])))
		})
	}
}

func TestAStatusThatCannotBeWrittenNowIsNotCutDown(t *testing.T) {
	client := fake.NewClientset(podOf("1"))
	away := errors.New("away")
	taken := refuse(client, "text of", away)
	pods := podsClient{PodsGetter: client.CoreV1()}.Pods("n")
	_, err := pods.UpdateStatus(t.Context(), podOf("1", ended), metav1.UpdateOptions{})
	require.ErrorIs(t, err, away)
	assert.Empty(t, *taken)
	assert.Len(t, client.Actions(), 1)
}

func TestAPodWhoseLastStatusIsRefusedIsDeleted(t *testing.T) {
	finish := func(t *testing.T, err error) (*published, error) {
		t.Helper()
		p := newPublished(t, podOf("1", ended))
		refuse(p.client, "", err)
		p.cache.SetPod(podOf("1", ended))
		p.cache.Finish("1")
		return p, p.publish(t.Context(), "1")
	}
	for name, answer := range map[string]error{"for its size": tooLarge(), "for its content": invalid()} {
		t.Run(name, func(t *testing.T) {
			p, err := finish(t, answer)
			require.NoError(t, err)
			verbs := p.verbs()
			assert.Equal(t, "delete", verbs[len(verbs)-1])
		})
	}
	t.Run("not one whose status can be written later", func(t *testing.T) {
		p, err := finish(t, apierrors.NewServerTimeout(corev1.Resource("pods"), "patch", 1))
		require.Error(t, err)
		assert.NotContains(t, p.verbs(), "delete")
	})
}

func conflict() error {
	return apierrors.NewConflict(corev1.Resource("pods"), "p", errors.New("the object has been modified"))
}

func TestAWriteThatMetAnotherIsTriedAgain(t *testing.T) {
	t.Run("a status", func(t *testing.T) {
		client := fake.NewClientset(podOf("1"))
		refuse(client, "", conflict())
		_, err := podsClient{PodsGetter: client.CoreV1()}.Pods("n").UpdateStatus(t.Context(), podOf("1", ended), metav1.UpdateOptions{})
		require.True(t, apierrors.IsConflict(err), "%v", err)
	})
	t.Run("the last status", func(t *testing.T) {
		p := newPublished(t, podOf("1", ended))
		refuse(p.client, "", conflict())
		p.cache.SetPod(podOf("1", ended))
		p.cache.Finish("1")
		require.Error(t, p.publish(t.Context(), "1"))
		assert.NotContains(t, p.verbs(), "delete")
	})
	t.Run("a deletion", func(t *testing.T) {
		p := newPublished(t, podOf("1", ended))
		p.client.PrependReactor("delete", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, conflict() })
		p.cache.SetPod(podOf("1", ended))
		p.cache.Finish("1")
		require.Error(t, p.publish(t.Context(), "1"))
	})
}

func TestNothingIsWrittenToAnotherPodOfTheName(t *testing.T) {
	for name, answer := range map[string]error{"with a conflict": conflict(), "with a UID that may not change": invalid()} {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(podOf("2"))
			refuse(client, "", answer)
			_, err := podsClient{PodsGetter: client.CoreV1()}.Pods("n").UpdateStatus(t.Context(), podOf("1", ended), metav1.UpdateOptions{})
			require.True(t, apierrors.IsNotFound(err), "it is as good as written: %v", err)
			assert.Len(t, client.Actions(), 2, "one try and one look")
		})
	}
	t.Run("nor is it deleted", func(t *testing.T) {
		p := newPublished(t, podOf("1", ended))
		require.NoError(t, p.client.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), podOf("2"), "n"))
		for _, verb := range []string{"patch", "delete"} {
			p.client.PrependReactor(verb, "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, conflict() })
		}
		p.cache.SetPod(podOf("1", ended))
		p.cache.Finish("1")
		require.NoError(t, p.publish(t.Context(), "1"))
	})
}
