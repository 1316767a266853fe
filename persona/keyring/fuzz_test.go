package keyring_test

import (
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/keyring"
)

// FuzzConfig reads anything as a pull secret, of either type, and looks for credentials in it.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://reg.example/v1/":{"username":"me","password":"p"},"*.example:5000/team":{"auth":"bWU6cA=="}}}`), "reg.example/team/a:1")
	f.Add([]byte(`{"reg.example":{"identitytoken":"t"},"https://index.docker.io/v1/":{"registrytoken":"t"}}`), "hello")
	f.Add([]byte(`{"auths":{"[":{},"reg.example":{"auth":"!"},"":{},"a@b":{"auth":"bWU="}}}`), "127.0.0.1:5000/a@sha256:"+digest)
	f.Fuzz(func(t *testing.T, secret []byte, image string) {
		var k keyring.Keyring
		for _, add := range []func([]byte, string) error{k.AddConfigJSON, k.AddConfig} {
			if err := add(secret, "uid"); err != nil {
				require.Less(t, len(err.Error()), 2000)
				require.True(t, utf8.ValidString(err.Error()))
			}
		}
		found := k.Lookup(image)
		require.LessOrEqual(t, len(found), 16)
		for _, c := range found {
			require.Equal(t, "uid", c.Holder)
		}
	})
}
