package persona

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

// FuzzBlob reads anything as the blob of a layer that is what its manifest promised, whatever it is packed with.
func FuzzBlob(f *testing.F) {
	f.Add([]byte{})
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write(make([]byte, 2048))
	require.NoError(f, err)
	require.NoError(f, w.Close())
	f.Add(z.Bytes())
	f.Add(append(z.Bytes(), z.Bytes()...))
	f.Add(z.Bytes()[:12])
	e, err := zstd.NewWriter(nil)
	require.NoError(f, err)
	packed := e.EncodeAll(make([]byte, 2048), nil)
	f.Add(packed)
	f.Add(append([]byte{0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0}, packed...))
	// A frame that asks for a window of 2 GiB.
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00})
	f.Fuzz(func(t *testing.T, raw []byte) {
		digest, size, err := v1.SHA256(bytes.NewReader(raw))
		require.NoError(t, err)
		l := layer{digest: digest, diffID: digest, size: size, open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(raw)), nil
		}}
		if err := readLayer(t.Context(), l, func(int) {}, flatten.New(discard{}, fuzzLimits.Files).AddLayer); err != nil {
			requireImageError(t, err)
		}
	})
}

// FuzzAnswers has a registry answer anything to whoever signs in and asks for a manifest. The error goes to users.
func FuzzAnswers(f *testing.F) {
	f.Add(401, `Bearer realm="https://r.example/token",service="s",scope="a"`, "", []byte(`{"token":"t","expires_in":1}`), []byte(`{}`))
	f.Add(401, `Basic realm="x", Bearer realm="http://127.0.0.1/token"`, "", []byte{}, []byte(`{"schemaVersion":2,"manifests":[]}`))
	f.Add(404, "", "", []byte{}, []byte(`{"errors":[{"code":"DENIED","message":"a\nb","detail":{"a":[1]}}]}`))
	f.Add(307, "", "https://elsewhere.example/a?signature=b", []byte{}, []byte("<html>"))
	f.Add(307, "", "http://a b/", []byte{}, []byte{0xff, 0x00, 0x1b})
	f.Fuzz(func(t *testing.T, status int, challenge, location string, greeting, answer []byte) {
		if status < 200 || status > 599 || busy(status) {
			return // what is busy is asked again, later
		}
		header := http.Header{}
		header.Set("Www-Authenticate", challenge)
		header.Set("Location", location)
		next := transportFunc(func(r *http.Request) (*http.Response, error) {
			body := answer
			if r.URL.Path == "/v2/" || strings.Contains(r.URL.Path, "token") {
				body = greeting
			}
			return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(bytes.NewReader(body)), Request: r, ContentLength: -1}, nil
		})
		named, err := parseName("r.example/a:1")
		require.NoError(t, err)
		ep, err := newEndpoint("r.example", "a", next, false)
		require.NoError(t, err)
		s := &Store{platform: v1.Platform{OS: "linux", Architecture: "amd64"}, limits: fuzzLimits}
		if _, _, err = s.resolveAt(t.Context(), named, ep); err == nil {
			return
		}
		text := briefError{kindOf(err)}.Error()
		require.LessOrEqual(t, len(text), maxErrorBytes+len("…"))
		require.NotContains(t, text, "signature")
		for _, r := range text {
			require.True(t, unicode.IsPrint(r), "%q", text)
		}
	})
}

// FuzzName reads anything as the name of an image, as a pod may have it.
func FuzzName(f *testing.F) {
	for _, name := range []string{"hello", "127.0.0.1:5000/a/b:1", "[::1]:5000/a@sha256:" + strings.Repeat("0", 64), "sha256:0123456789ab", "a//b", "A"} {
		f.Add(name)
	}
	hosts, err := newRegistryHosts(Config{})
	require.NoError(f, err)
	images := []Image{{Names: []string{"hello:latest"}, Digest: "sha256:0", ID: "sha256:1", Grants: map[string]Grant{"docker.io/library/hello": {Holders: []string{"a"}}}}}
	f.Fuzz(func(t *testing.T, name string) {
		full, err := NormalizeName(name)
		if err != nil {
			require.ErrorIs(t, err, ErrInvalidName)
			return
		}
		again, err := NormalizeName(full)
		require.NoError(t, err)
		require.Equal(t, full, again)
		named, err := parseName(name)
		require.NoError(t, err)
		if _, err := hosts.endpoints(named, nil); err != nil {
			require.ErrorIs(t, err, ErrInvalidName)
		}
		require.False(t, images[0].MayUse(name, nil), "it is for its holder by any name")
	})
}
