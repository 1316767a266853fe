package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
)

// harbour makes nodes of a source, and remembers what became of them.
type harbour struct {
	mu      sync.Mutex // guards what follows
	said    []string
	refused error // what a check comes to
}

func (h *harbour) say(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, what)
}

// heard returns what was said since the last call.
func (h *harbour) heard() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	said := h.said
	h.said = nil
	return said
}

func (h *harbour) ofEntry(_ context.Context, e *config.Entry) (*VCH, error) {
	return &VCH{Entry: *e}, nil
}

func (h *harbour) spec(v *VCH) (Spec, error) {
	revision, err := v.revision()
	return Spec{
		Revision: revision,
		Check:    func(context.Context) error { return h.refused },
		Open:     func(context.Context) (Served, error) { h.say("open " + v.Name); return &ship{h, v.Name}, nil },
	}, err
}

func (h *harbour) purge(_ context.Context, e *config.Entry) error {
	h.say("purge " + e.NodeName)
	return nil
}

// ship is a node that only runs.
type ship struct {
	harbour *harbour
	name    string
}

func (s *ship) Run(ctx context.Context) error   { <-ctx.Done(); return nil }
func (s *ship) Close(context.Context)           { s.harbour.say("close " + s.name) }
func (s *ship) RemoveVMs(context.Context) error { s.harbour.say("remove VMs of " + s.name); return nil }

func (s *ship) Offers(context.Context) (capacity, inUse corev1.ResourceList, err error) {
	return corev1.ResourceList{}, corev1.ResourceList{}, nil
}

// cluster is an API server that is a map.
func cluster(t *testing.T, objects ...client.Object) client.Client {
	t.Helper()
	return fake.NewClientBuilder().WithObjects(objects...).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourceCreate: func(ctx context.Context, c client.Client, _ string, o, _ client.Object, _ ...client.SubResourceCreateOption) error {
				return c.Delete(ctx, o) // an eviction
			},
		}).Build()
}

// bench is a file that is served.
type bench struct {
	*harbour
	client client.Client
	path   string
}

func (b bench) write(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(b.path, []byte(text), 0o600))
	<-time.After(2 * rereadInterval)
}

func (b bench) node(t *testing.T, name string) *corev1.Node {
	t.Helper()
	var n corev1.Node
	if err := b.client.Get(t.Context(), client.ObjectKey{Name: name}, &n); err != nil {
		require.NoError(t, client.IgnoreNotFound(err))
		return nil
	}
	return &n
}

// virtual is a Node that this program has made.
func virtual(name string) *corev1.Node {
	labels := map[string]string{config.NodeTypeLabel: config.NodeType}
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: labels}}
}

// serve serves a file with the nodes a and b, of which b has a pod.
func serve(t *testing.T, text string, test func(t *testing.T, b bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := bench{harbour: &harbour{}, path: filepath.Join(t.TempDir(), "node.yaml"), client: cluster(t,
			virtual("a"), virtual("b"),
			&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p"}, Spec: corev1.PodSpec{NodeName: "b"}})}
		require.NoError(t, os.WriteFile(b.path, []byte(text), 0o600))
		f := newFileSource(&server{ServerConfig: ServerConfig{Path: b.path, Settings: &config.Node{}}})
		f.nodes, f.drainer = b, controllers.Drainer{Client: b.client, API: b.client}
		settings, err := f.parse([]byte(text))
		require.NoError(t, err)
		f.settings = settings
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { f.fleet.Run(ctx) })
		running.Go(func() { assert.NoError(t, f.run(ctx)) })
		assert.ElementsMatch(t, []string{"open a", "open b"}, b.heard())
		test(t, b)
		cancel()
		running.Wait()
	})
}

func TestAnEntryThatHasChangedIsOpenedAnew(t *testing.T) {
	serve(t, "vchs: [{name: a}, {name: b}]", func(t *testing.T, b bench) {
		b.write(t, "vchs: [{name: a, labels: {rack: r1}}, {name: b}]")
		assert.Equal(t, []string{"close a", "open a"}, b.heard())
		b.write(t, "vchs: [{name: a, subnet: 192.0.2.0/24, labels: {rack: r1}}, {name: b}]")
		assert.Empty(t, b.heard(), "pods have addresses of the subnet")
		b.refused = errors.New("no such pool")
		b.write(t, "vchs: [{name: a, labels: {rack: r2}}, {name: b}]")
		assert.Empty(t, b.heard(), "what is refused changes nothing")
	})
}

func TestAFileThatIsWrongChangesNothing(t *testing.T) {
	serve(t, "vchs: [{name: a}, {name: b}]", func(t *testing.T, b bench) {
		for _, text := range []string{"vchs: [{name: a, shoeSize: 9}]", "vchs: [{name: a, port: -1}]", "vch: {name: a}", "{", "guestListen: \":1\"\nvchs: [{name: a}]"} {
			b.write(t, text)
			assert.Empty(t, b.heard(), text)
		}
		require.NoError(t, os.Remove(b.path))
		<-time.After(2 * rereadInterval)
		assert.Empty(t, b.heard(), "nor does one that is gone")
	})
}

func TestAnEntryThatIsGoneWaitsForItsPods(t *testing.T) {
	serve(t, "vchs: [{name: a}, {name: b}]", func(t *testing.T, b bench) {
		b.write(t, "vchs: [{name: a}]")
		assert.Empty(t, b.heard())
		assert.True(t, b.node(t, "b").Spec.Unschedulable)
		b.write(t, "deletionPolicy: Drain\nvchs: [{name: a}]")
		assert.Equal(t, []string{"remove VMs of b", "close b", "purge b"}, b.heard(), "the policy can change while it waits")
		assert.Nil(t, b.node(t, "b"))
		assert.NotNil(t, b.node(t, "a"))
		b.write(t, "vchs: [{name: a}, {name: b}]")
		assert.Equal(t, []string{"open b"}, b.heard(), "it may come back")
	})
}

func TestAnEntryThatIsOrphanedKeepsItsVMs(t *testing.T) {
	serve(t, "vchs: [{name: a}, {name: b, deletionPolicy: Orphan}]", func(t *testing.T, b bench) {
		b.write(t, "deletionPolicy: Refuse\nvchs: [{name: a}]")
		assert.Equal(t, []string{"close b"}, b.heard())
		assert.Nil(t, b.node(t, "b"))
	})
}

func TestAnEntryThatIsGoneLeavesSomebodyElsesNodeAlone(t *testing.T) {
	for _, policy := range []config.DeletionPolicy{config.DeletionRefuse, config.DeletionDrain, config.DeletionOrphan} {
		t.Run(string(policy), func(t *testing.T) {
			serve(t, "vchs: [{name: a}, {name: b}]", func(t *testing.T, b bench) {
				n := b.node(t, "b")
				n.Labels = nil
				require.NoError(t, b.client.Update(t.Context(), n))
				b.write(t, "deletionPolicy: "+string(policy)+"\nvchs: [{name: a}]")
				assert.Equal(t, []string{"close b"}, b.heard())
				require.NotNil(t, b.node(t, "b"))
				assert.False(t, b.node(t, "b").Spec.Unschedulable)
				require.NoError(t, b.client.Get(t.Context(), client.ObjectKey{Namespace: "n", Name: "p"}, &corev1.Pod{}), "nor are its pods evicted")
			})
		})
	}
}
