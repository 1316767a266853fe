package persona

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxZstdWindow is the most memory that a layer may ask its decompression to take.
	maxZstdWindow = 128 << 20
)

// hasher returns the hash of h's algorithm.
func hasher(h v1.Hash) (hash.Hash, error) {
	switch h.Algorithm {
	case "sha256":
		return sha256.New(), nil
	case "sha512":
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("%w: digest algorithm %q", ErrInvalidImage, h.Algorithm)
}

func checkSum(what string, h hash.Hash, want v1.Hash) error {
	if got := hex.EncodeToString(h.Sum(nil)); got != want.Hex {
		return fmt.Errorf("%w: %s is %s:%s and should be %s", ErrDigestMismatch, what, want.Algorithm, got, want)
	}
	return nil
}

// checkedBytes returns b if it is what want promises.
func checkedBytes(what string, b []byte, want v1.Hash) ([]byte, error) {
	h, err := hasher(want)
	if err != nil {
		return nil, err
	}
	_, _ = h.Write(b) // a hash never fails
	return b, checkSum(what, h, want)
}

// readDocument reads r whole. It is not larger than any configuration of Limits allows; the loader knows the present one.
func readDocument(what string, r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MostDocumentBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(b) > MostDocumentBytes {
		return nil, fmt.Errorf("read %s: %w: more than %d bytes", what, ErrTooLarge, MostDocumentBytes)
	}
	return b, nil
}

// checkedReader passes on a blob and compares it with its digest at the end.
type checkedReader struct {
	r io.Reader
	// hash is nil where a blob has no digest.
	hash hash.Hash
	want v1.Hash
	left int64
	// err is why reading ended before the end.
	err error
	// progress gets how many bytes came.
	progress func(n int)
}

func (c *checkedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.hash != nil {
		_, _ = c.hash.Write(p[:n]) // a hash never fails
	}
	c.left -= int64(n)
	c.progress(n)
	switch {
	case c.left < 0:
		c.err = fmt.Errorf("%w: blob %s is longer than its manifest says", ErrDigestMismatch, c.want)
	case err != nil && !errors.Is(err, io.EOF):
		c.err = err
	}
	if c.err != nil {
		return n, c.err
	}
	return n, err
}

// finish reads what is left and reports whether all of it was as promised.
func (c *checkedReader) finish() error {
	if c.err == nil {
		_, _ = io.Copy(io.Discard, c) // c keeps the error
	}
	if c.err != nil {
		return c.err
	}
	if c.left > 0 {
		return fmt.Errorf("%w: blob %s is %d bytes shorter than its manifest says", ErrDigestMismatch, c.want, c.left)
	}
	if c.hash == nil {
		return nil
	}
	return checkSum("blob", c.hash, c.want)
}

// decompress returns the contents of r, be it compressed with gzip, zstd or not at all: media types are often wrong.
func decompress(r io.Reader) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(r, 1<<20)
	magic, err := buffered.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, damaged(unexpected(err)) // a header that is cut off
		}
		return unpacker{z, z}, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}), isSkippable(magic):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(maxZstdWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, damaged(err)
		}
		return unpacker{z, z.IOReadCloser()}, nil
	}
	return io.NopCloser(buffered), nil
}

// isSkippable reports whether magic begins one of the frames that zstd skips (RFC 8878, section 3.1.2). Programs that
// compress in parallel begin with one.
func isSkippable(magic []byte) bool {
	return len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18})
}

// unpacker marks the errors of a decompressor.
type unpacker struct {
	io.Reader
	io.Closer
}

func (u unpacker) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	return n, damaged(err)
}

func damaged(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return fmt.Errorf("%w: decompress: %w", ErrInvalidImage, err)
}
