package node

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
)

// object is a VirtualContainerHost on vSphere.
func object(name string, change func(*config.VCH)) *v1alpha1.VirtualContainerHost {
	o := &v1alpha1.VirtualContainerHost{ObjectMeta: metav1.ObjectMeta{Name: name, UID: "u-1"}, Spec: config.VCH{
		Subnet: "192.0.2.0/24",
		VSphere: &config.VSphere{
			Address: "vcenter.example", CredentialsSecret: "vcenter", BootISO: "i", Network: "n", AdvertiseAddresses: []string{"192.0.2.2:1"},
		},
	}}
	change(&o.Spec)
	return o
}

// serveCluster runs a test with a source that listens.
func serveCluster(t *testing.T, test func(t *testing.T, c *clusterSource, h *harbour)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h, ready := &harbour{}, newReadiness()
		c := newClusterSource(&server{ServerConfig: ServerConfig{Settings: &config.Node{Namespace: "vic-system"}}}, ready)
		c.nodes = h
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { c.fleet.Run(ctx) })
		running.Go(func() { assert.NoError(t, c.run(ctx)) })
		ready.begin()
		test(t, c, h)
		cancel()
		running.Wait()
	})
}

func unchanged(*config.VCH) {}

func TestAnObjectIsServedUntilItIsRemoved(t *testing.T) {
	serveCluster(t, func(t *testing.T, c *clusterSource, h *harbour) {
		assert.False(t, c.Known("a"))
		require.NoError(t, c.Serve(t.Context(), object("a", unchanged), controllers.Credentials{Username: "u"}))
		assert.Equal(t, []string{"open a"}, h.heard())
		assert.True(t, c.Known("a"))
		assert.Equal(t, "a", (<-c.changed).Object.GetName(), "its status is due")
		observed, known := c.Observe(t.Context(), "a")
		assert.True(t, known)
		assert.True(t, observed.Open)
		require.NoError(t, c.Serve(t.Context(), object("a", unchanged), controllers.Credentials{Username: "other"}))
		assert.Equal(t, []string{"close a", "open a"}, h.heard(), "another account is another session")

		require.NoError(t, c.Remove(t.Context(), "a"))
		assert.Equal(t, []string{"remove VMs of a", "close a", "purge a"}, h.heard())
		require.NoError(t, c.Remove(t.Context(), "a"))
		_, known = c.Observe(t.Context(), "a")
		assert.False(t, known)
	})
}

func TestAnObjectThatIsAbandonedKeepsVMsAndState(t *testing.T) {
	serveCluster(t, func(t *testing.T, c *clusterSource, h *harbour) {
		require.NoError(t, c.Serve(t.Context(), object("a", unchanged), controllers.Credentials{}))
		assert.Equal(t, []string{"open a"}, h.heard())
		require.NoError(t, c.Abandon(t.Context(), "a"))
		assert.Equal(t, []string{"close a"}, h.heard())
	})
}

func TestAnObjectThatCannotBeServedIsRefused(t *testing.T) {
	serveCluster(t, func(t *testing.T, c *clusterSource, h *harbour) {
		onQEMU := object("a", func(v *config.VCH) { v.VSphere, v.QEMU = nil, &config.QEMU{} })
		require.ErrorContains(t, c.Serve(t.Context(), onQEMU, controllers.Credentials{}), "spec.qemu: an object of the cluster can't have pods run on QEMU")
		bad := object("a", func(v *config.VCH) { v.VSphere.Gateway = "there" })
		require.ErrorContains(t, c.Serve(t.Context(), bad, controllers.Credentials{}), "spec.vsphere.gateway: ")
		assert.Empty(t, h.heard())

		require.NoError(t, c.Serve(t.Context(), object("a", unchanged), controllers.Credentials{}))
		assert.Equal(t, []string{"open a"}, h.heard())
		same := object("b", func(v *config.VCH) { v.NodeName = "a" })
		require.ErrorContains(t, c.Serve(t.Context(), same, controllers.Credentials{}), "spec.nodeName a is that of VCH a")
		same = object("b", func(v *config.VCH) { v.VSphere.Directory = "vic/a" })
		require.ErrorContains(t, c.Serve(t.Context(), same, controllers.Credentials{}), "is that of VCH a")
		require.NoError(t, c.Abandon(t.Context(), "a"))
		require.NoError(t, c.Serve(t.Context(), same, controllers.Credentials{}), "it is free again")
		assert.Equal(t, []string{"close a", "open b"}, h.heard())

		h.refused = errors.New("no such pool")
		lost := object("b", func(v *config.VCH) { v.VSphere.Directory, v.VSphere.Pool = "vic/a", "none" })
		require.ErrorIs(t, c.Serve(t.Context(), lost, controllers.Credentials{}), h.refused)
		assert.Empty(t, h.heard(), "the node is as it was")
	})
}

func TestObjectsWaitUntilTheProcessListens(t *testing.T) {
	ready := newReadiness()
	require.ErrorContains(t, ready.check(nil), "another process leads")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, ready.wait(ctx), context.Canceled)
	ready.begin()
	require.NoError(t, ready.wait(t.Context()))
	require.NoError(t, ready.check(nil))
}

func TestTheNodeOfAnObjectNamesItsOwner(t *testing.T) {
	v := ofObject(object("a", func(v *config.VCH) { v.Labels = map[string]string{"rack": "r1"} }), controllers.Credentials{})
	assert.Equal(t, map[string]string{config.OwnerLabel: "u-1", "rack": "r1"}, v.labels())
	assert.Equal(t, map[string]string{}, (&VCH{}).labels())
}

func TestTheAuthorityOfGuestsIsMadeOnce(t *testing.T) {
	c := cluster(t)
	keeper := secretAuthority(c, c, "vic-system")
	made := 0
	make := func() ([]byte, error) { made++; return []byte("pem"), nil }
	for range 2 {
		pem, err := keeper(t.Context(), make)
		require.NoError(t, err)
		assert.Equal(t, "pem", string(pem))
	}
	assert.Equal(t, 1, made)

	other := cluster(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "vic-system", Name: authoritySecret}})
	_, err := secretAuthority(other, other, "vic-system")(t.Context(), make)
	require.ErrorContains(t, err, "Secret vic-system/vic-guests: it has no authority.pem")
	// Another process was first.
	late := lateReader{Client: c}
	pem, err := secretAuthority(c, &late, "vic-system")(t.Context(), func() ([]byte, error) { return []byte("mine"), nil })
	require.NoError(t, err)
	assert.Equal(t, "pem", string(pem))
}

// lateReader sees nothing the first time.
type lateReader struct {
	client.Client
	asked bool
}

func (r *lateReader) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if !r.asked {
		r.asked = true
		key.Name = "none"
	}
	return r.Client.Get(ctx, key, o, opts...)
}
