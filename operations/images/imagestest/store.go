// Package imagestest has an image store in memory, with a registry behind it that fails and waits as a test wants it.
package imagestest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/persona"
)

// Store is an image store. Its images are in the registry unless they are local. Tests set the fields while nothing pulls.
type Store struct {
	mu sync.Mutex // guards all below

	Local map[string]persona.Image
	// Failing is what pulls fail with; nil: they don't.
	Failing error
	// Gate is what pulls wait for; nil: they don't. Gated is the one image whose pull waits; "" is all.
	Gate  chan struct{}
	Gated string
	// Undo is what a pull takes to end that is called off.
	Undo time.Duration
	// Auth are the credentials of all pulls.
	Auth [][]persona.Credentials
	// Removed is an image that somebody else removes just before its disk is used.
	Removed string

	now    int // pulls that go on
	pulled int
}

// NewStore returns an empty Store.
func NewStore() *Store { return &Store{Local: map[string]persona.Image{}} }

// Image is one that the registry has under that name.
func Image(ref string) persona.Image {
	digest := fmt.Sprintf("sha256:%064x", len(ref))
	return persona.Image{
		Names: []string{ref}, RepoDigests: []string{ref[:strings.LastIndex(ref, ":")] + "@" + digest},
		Digest: digest, ID: digest, DiskDigest: digest, SizeBytes: 7, DiskBytes: 7,
		Config: persona.ImageConfig{Env: []string{"PATH=/bin"}},
	}
}

// Lookup implements images.Store.
func (s *Store) Lookup(ref string) (persona.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if img, ok := s.Local[ref]; ok {
		return img, nil
	}
	for _, img := range s.Local {
		if img.Digest == ref {
			return img, nil
		}
	}
	return persona.Image{}, fmt.Errorf("look up: %w", persona.ErrNotFound)
}

// Pull implements images.Store.
func (s *Store) Pull(ctx context.Context, ref string, opts persona.PullOptions) (persona.Image, error) {
	s.mu.Lock()
	gate, undo := s.Gate, s.Undo
	if s.Gated != "" && s.Gated != ref {
		gate = nil
	}
	s.now++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			<-time.After(undo)
			return persona.Image{}, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulled++
	s.Auth = append(s.Auth, opts.Auth)
	if s.Failing != nil {
		return persona.Image{}, s.Failing
	}
	s.Local[ref] = Image(ref)
	return s.Local[ref], nil
}

// Fail makes all pulls fail from now on; nil ends that.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Failing = err
}

// Pulls is how many pulls were begun and not called off.
func (s *Store) Pulls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pulled
}

// Pulling is how many pulls go on.
func (s *Store) Pulling() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Source implements images.Store.
func (s *Store) Source(img persona.Image) persona.Source {
	return persona.Source{Digest: img.DiskDigest, SizeBytes: 7, Open: func() (io.ReadSeekCloser, error) {
		if !s.has(img) {
			return nil, fmt.Errorf("open disk: %w", persona.ErrNotFound)
		}
		return struct {
			io.ReadSeeker
			io.Closer
		}{bytes.NewReader([]byte("content")), io.NopCloser(nil)}, nil
	}}
}

// has is true when the image is here. One that somebody else removes is gone for the first who wants its disk.
func (s *Store) has(img persona.Image) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Removed != "" {
		delete(s.Local, s.Removed)
		s.Removed = ""
	}
	for _, here := range s.Local {
		if here.Digest == img.Digest {
			return true
		}
	}
	return false
}
