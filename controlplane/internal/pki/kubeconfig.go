package pki

import (
	"fmt"
	"os"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/virtual-kubelet/vic/controlplane/internal/atomicfile"
)

// entry is the name of cluster, user and context in each kubeconfig.
const entry = "vic"

// WriteKubeconfig writes a kubeconfig for the API server at endpoint, an https URL, as the user of p. The
// certificates are within the file, which is 0600 and replaced atomically.
func (set *Set) WriteKubeconfig(path, endpoint string, p Pair) error {
	config, err := set.kubeconfig(endpoint, p)
	if err != nil {
		return err
	}
	data, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("encode kubeconfig %s: %w", path, err)
	}
	return atomicfile.Write(path, data, 0o600)
}

func (set *Set) kubeconfig(endpoint string, p Pair) (*clientcmdapi.Config, error) {
	files := map[string][]byte{set.CA.CertFile: nil, p.CertFile: nil, p.KeyFile: nil}
	for path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read credential: %w", err)
		}
		files[path] = data
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[entry] = &clientcmdapi.Cluster{Server: endpoint, CertificateAuthorityData: files[set.CA.CertFile]}
	config.AuthInfos[entry] = &clientcmdapi.AuthInfo{
		ClientCertificateData: files[p.CertFile],
		ClientKeyData:         files[p.KeyFile],
	}
	config.Contexts[entry] = &clientcmdapi.Context{Cluster: entry, AuthInfo: entry}
	config.CurrentContext = entry
	return config, nil
}
