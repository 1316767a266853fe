package provider

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestANodeThatNobodySignsForAsksForNoCertificate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	serve := func(selfSigned bool) func() int {
		client := fake.NewClientset()
		n := &Node{cfg: Config{
			Name: "v", Description: Description{InternalIP: "10.0.0.1"}, Clients: Clients{Main: client}, CertDir: t.TempDir(), SelfSigned: selfSigned,
		}}
		require.NoError(t, n.buildCerts())
		running.Go(func() { n.serving.Run(ctx) })
		return func() int {
			list, err := client.CertificatesV1().CertificateSigningRequests().List(t.Context(), metav1.ListOptions{})
			require.NoError(t, err)
			return len(list.Items)
		}
	}
	unsigned, signed := serve(true), serve(false)
	require.Eventually(t, func() bool { return signed() == 1 }, timeout, poll)
	assert.Zero(t, unsigned())
	cancel()
	running.Wait()
}
