package persona

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// fetch brings the layers that are elsewhere into w, as they come, and returns a with them. Nothing is unpacked before all of
// it is here and is what its digest promised: a registry may take its time, and the memory to unpack in is shared.
func (a *artifact) fetch(ctx context.Context, w *workDir, progress func(Progress)) (*artifact, error) {
	here := *a
	here.layers = nil
	state := a.progress()
	for i, l := range a.layers {
		if l.remote {
			var err error
			if l, err = l.fetch(ctx, w.file(fmt.Sprintf("layer-%d", i)), state.reading(i, progress)); err != nil {
				return nil, err
			}
		}
		here.layers = append(here.layers, l)
	}
	return &here, nil
}

// fetch copies l to the file name, and returns the copy, which can be opened once.
func (l layer) fetch(ctx context.Context, name string, count func(n int)) (_ layer, err error) {
	blob, err := l.open(ctx)
	if err != nil {
		return layer{}, fmt.Errorf("open layer %s: %w", l.name(), err)
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	packed, err := l.checked(blob, count)
	if err != nil {
		return layer{}, err
	}
	if err := writeLayer(name, packed); err != nil {
		return layer{}, err
	}
	if err := packed.finish(); err != nil {
		return layer{}, fmt.Errorf("layer %s: %w", l.name(), err)
	}
	l.fetched = true
	l.open = func(context.Context) (io.ReadCloser, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		// Without a name it goes when it has been read, while what it holds is written anew.
		return f, os.Remove(name)
	}
	return l, nil
}

// writeLayer copies what comes to a new file. Why packed ended is said by its finish.
func writeLayer(name string, packed *checkedReader) (err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sparse := &sparseFile{file: f}
	if _, err := io.Copy(sparse, packed); err != nil && packed.err == nil {
		return err
	}
	return sparse.settle()
}
