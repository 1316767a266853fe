package persona

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

// openSmall opens a store whose places hold five entries.
func openSmall(t *testing.T, places int) *Store {
	t.Helper()
	s, err := Open(Config{Dir: t.TempDir(), Platform: "linux/amd64"})
	require.NoError(t, err)
	s.memory = newMemory(places, flatten.Reserve{Entries: 5, MetadataBytes: 1 << 20})
	return s
}

// manyFiles is an image whose one layer has files empty files. Whoever opens it gets the error of opened.
func manyFiles(t *testing.T, files int, opened func(ctx context.Context) error) *artifact {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range files {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("file-%d", i)}))
	}
	require.NoError(t, w.Close())
	sum := sha256.Sum256(b.Bytes())
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	return &artifact{digest: digest, id: digest, config: &configFile{}, layers: []layer{{
		diffID: digest, digest: digest, size: int64(b.Len()), remote: true,
		open: func(ctx context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.Bytes())), opened(ctx)
		},
	}}}
}

func atOnce(context.Context) error { return nil }

func addTo(ctx context.Context, s *Store, a *artifact) error {
	_, err := s.add(ctx, a, naming{tags: []string{"hello:latest"}}, func(Progress) {})
	return err
}

func TestALargeImageWaitsUntilNoOtherIsLarge(t *testing.T) {
	s := openSmall(t, 2)
	other, err := s.memory.enter(t.Context())
	require.NoError(t, err)
	require.NoError(t, other.grow(t.Context()))

	ctx, cancel := context.WithCancel(t.Context())
	failed, large := make(chan error), manyFiles(t, 6, atOnce)
	go func() { failed <- addTo(ctx, s, large) }()
	require.Eventually(t, func() bool { return len(s.memory.places) == 2 }, time.Minute, time.Millisecond)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)

	require.NoError(t, addTo(t.Context(), s, manyFiles(t, 5, atOnce)), "a small one needs no more than a place")
	other.leave()
	require.NoError(t, addTo(t.Context(), s, manyFiles(t, 6, atOnce)))
	require.Empty(t, s.memory.places)
	require.Empty(t, s.memory.large)
}

func TestARegistryThatTakesItsTimeHoldsNoMemory(t *testing.T) {
	s := openSmall(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	failed, asked := make(chan error), make(chan struct{})
	slow := manyFiles(t, 1, func(ctx context.Context) error {
		close(asked)
		<-ctx.Done()
		return ctx.Err()
	})
	go func() { failed <- addTo(ctx, s, slow) }()
	<-asked
	require.NoError(t, addTo(t.Context(), s, manyFiles(t, 6, atOnce)))
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
}

func TestALayerIsNotUnpackedBeforeItIsWhatItsDigestPromised(t *testing.T) {
	s := openSmall(t, 1)
	held, err := s.memory.enter(t.Context())
	require.NoError(t, err)
	defer held.leave()
	lying := manyFiles(t, 1, atOnce)
	lying.layers[0].digest.Hex = lying.layers[0].digest.Hex[1:] + "0"
	require.ErrorIs(t, addTo(t.Context(), s, lying), ErrDigestMismatch, "it needs no place to be found out")
}

func TestAnImageThatEndedTheProcessTwiceIsRefusedForAnHour(t *testing.T) {
	s := openSmall(t, 1)
	fetched := 0
	large := manyFiles(t, 6, func(context.Context) error { fetched++; return nil })
	left := s.tried.path(large.diskDigest())
	// A process that ends while it flattens leaves what begin has written.
	for range maxTries {
		require.NoError(t, s.tried.check(large.diskDigest()))
		require.NoError(t, s.tried.begin(large.diskDigest()))
	}
	s, err := Open(Config{Dir: filepath.Dir(s.disks), Platform: "linux/amd64"})
	require.NoError(t, err)
	err = addTo(t.Context(), s, large)
	require.ErrorIs(t, err, ErrTooLarge)
	require.ErrorContains(t, err, "vic ended 2 times while it flattened the image")
	require.Zero(t, fetched, "not a byte of it is fetched")
	require.NoError(t, addTo(t.Context(), s, manyFiles(t, 7, atOnce)), "others are not refused")

	require.NoError(t, os.Chtimes(left, time.Time{}, time.Now().Add(-triedFor-time.Minute)))
	require.NoError(t, addTo(t.Context(), s, large))
	require.NoFileExists(t, left)
}

func TestATryIsWrittenDownWhileALargeImageIsFlattened(t *testing.T) {
	s := openSmall(t, 1)
	large := manyFiles(t, 6, atOnce)
	during := 0
	w, err := lockWorkDir(t.Context(), filepath.Join(s.work, "test"))
	require.NoError(t, err)
	room, err := s.memory.enter(t.Context())
	require.NoError(t, err)
	large.layers[0].size += 512 // so that reading ends with an error, after all entries
	large.layers[0].open = endsWith(large.layers[0].open, func() {
		info, err := os.Stat(s.tried.path(large.diskDigest()))
		if assert.NoError(t, err) {
			during = int(info.Size())
		}
	})
	require.Error(t, s.makeDisk(t.Context(), w, large, room, func(Progress) {}))
	require.Equal(t, 1, during)
	require.NoFileExists(t, s.tried.path(large.diskDigest()), "the process lives")
	room.leave()
	require.NoError(t, w.release())
}

// endsWith is open, and calls atEnd when all has been read.
func endsWith(open func(context.Context) (io.ReadCloser, error), atEnd func()) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		r, err := open(ctx)
		return io.NopCloser(io.MultiReader(r, readerFunc(func([]byte) (int, error) {
			atEnd()
			return 0, errors.New("broke off")
		}))), err
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAPanicOfADecoderIsTheImagesFault(t *testing.T) {
	s := openSmall(t, 1)
	bad := manyFiles(t, 1, func(context.Context) error { panic("index out of range") })
	bad.layers[0].remote = false
	require.ErrorIs(t, addTo(t.Context(), s, bad), ErrInvalidImage)
	require.NoError(t, addTo(t.Context(), s, manyFiles(t, 6, atOnce)))
	left, err := os.ReadDir(s.work)
	require.NoError(t, err)
	require.Empty(t, left)
}
