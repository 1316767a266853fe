package persona

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// keepAlive is that of http.DefaultTransport.
	keepAlive = 30 * time.Second
	// maxHeaderBytes bounds the header of one answer.
	maxHeaderBytes = 64 << 10
)

// transports keeps one transport for each way to speak to hosts, so that their connections are shared.
type transports struct {
	mu  sync.Mutex // guards all
	all map[string]*stampedTransport
}

// stampedTransport is a transport with what its files looked like when it was made.
type stampedTransport struct {
	stamp     string
	transport *http.Transport
}

// get returns the transport for c, a new one when a certificate has been replaced.
func (t *transports) get(c hostConfig) (http.RoundTripper, error) {
	stamp, err := c.stamp()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := fmt.Sprint(c.skipVerify, c.cas, c.clients, c.dialTimeout)
	old, ok := t.all[key]
	if ok && old.stamp == stamp {
		return old.transport, nil
	}
	made, err := newTransport(c)
	if err != nil {
		return nil, err
	}
	if ok {
		old.transport.CloseIdleConnections()
	}
	if t.all == nil {
		t.all = map[string]*stampedTransport{}
	}
	t.all[key] = &stampedTransport{stamp, made}
	return made, nil
}

// stamp changes with the contents of c's files.
func (c hostConfig) stamp() (string, error) {
	var b strings.Builder
	for _, files := range append([][]string{c.cas}, c.clients...) {
		for _, name := range files {
			info, err := os.Stat(name)
			if err != nil {
				return "", fmt.Errorf("certificate of a registry: %w", err)
			}
			fmt.Fprintln(&b, name, info.ModTime().UnixNano(), info.Size())
		}
	}
	return b.String(), nil
}

func newTransport(c hostConfig) (*http.Transport, error) {
	config, err := tlsConfig(c)
	if err != nil {
		return nil, err
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = headerTimeout
	t.MaxResponseHeaderBytes = maxHeaderBytes
	// A layer is wanted as it is stored, also where a server believes that its compression is the connection's.
	t.DisableCompression = true
	t.TLSClientConfig = config
	if c.dialTimeout > 0 {
		t.DialContext = (&net.Dialer{Timeout: c.dialTimeout, KeepAlive: keepAlive}).DialContext
	}
	return t, nil
}

func tlsConfig(c hostConfig) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: c.skipVerify, //nolint:gosec // the user listed the host as insecure
	}
	if len(c.cas) > 0 {
		pool, err := trusted(c.cas)
		if err != nil {
			return nil, err
		}
		config.RootCAs = pool
	}
	for _, pair := range c.clients {
		// One file may hold both.
		cert, err := tls.LoadX509KeyPair(pair[0], pair[len(pair)-1])
		if err != nil {
			return nil, fmt.Errorf("client certificate %s: %w", pair[0], err)
		}
		config.Certificates = append(config.Certificates, cert)
	}
	return config, nil
}

// trusted are the system's authorities and those of files.
func trusted(files []string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a system without any
	}
	for _, name := range files {
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("authority of a registry: %w", err)
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("authority of a registry: %s holds no certificate in PEM", name)
		}
	}
	return pool, nil
}
