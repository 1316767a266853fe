package credentialprovider

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	credentialproviderv1 "k8s.io/kubelet/pkg/apis/credentialprovider/v1"

	"github.com/virtual-kubelet/vic/persona/keyring"
)

// FuzzResponse reads anything as what a program answers.
func FuzzResponse(f *testing.F) {
	const head = `{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse",`
	f.Add([]byte(head + `"cacheKeyType":"Image","cacheDuration":"1h","auth":{"reg.example":{"username":"a","password":"1"}}}`))
	f.Add([]byte(head + `"cacheKeyType":"Registry","auth":{"[":{},"*.example:5000/a":{"username":""},"":null}}`))
	f.Add([]byte(head + `"auth":null} {}`))
	f.Add([]byte(`{"apiVersion":"` + strings.Repeat("x", 2000) + `"}`))
	f.Add([]byte(head + `"auth":{"[":{},"]":{},"[1":{},"[2":{},"[3":{},"` + strings.Repeat("[", 2000) + `":{}}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		response, err := decode(text, credentialproviderv1.SchemeGroupVersion.String())
		if err != nil {
			require.Less(t, len(err.Error()), 2000)
			return
		}
		var ring keyring.Keyring
		err = addTo(&ring, response.Auth)
		if err != nil {
			require.Less(t, len(err.Error()), 2000)
		}
		for _, c := range ring.Lookup("reg.example/a") {
			require.Empty(t, c.Holder, "it is for the whole node")
		}
	})
}
