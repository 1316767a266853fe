package guestlink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	// maxAnswerBytes bounds the answer to a call for which package wire has no bound.
	maxAnswerBytes = 64 << 10
	// maxAddresses and maxListedInterfaces bound what one VM can have. A pod may make interfaces of its own.
	maxAddresses        = 256
	maxListedInterfaces = 4096
)

// few is a list in a guest's answer. It is counted while it is decoded: what takes three bytes in JSON takes a hundred in memory.
type few[T any] struct {
	most int
	all  []T
	seen bool
}

// UnmarshalJSON refuses, with ErrMalformed, more items than there may be, and a list that comes twice in one object.
func (f *few[T]) UnmarshalJSON(b []byte) error {
	if f.seen {
		return fmt.Errorf("%w: a list comes twice", ErrMalformed)
	}
	f.seen = true
	d := json.NewDecoder(bytes.NewReader(b))
	switch begin, err := d.Token(); {
	case err != nil:
		return err
	case begin == nil: // null
		return nil
	case begin != json.Delim('['):
		return fmt.Errorf("%w: no list", ErrMalformed)
	}
	for d.More() {
		if len(f.all) == f.most {
			return fmt.Errorf("%w: a list of more than %d", ErrMalformed, f.most)
		}
		var item T
		if err := d.Decode(&item); err != nil {
			return err
		}
		f.all = append(f.all, item)
	}
	return nil
}

// decodeSnapshot reads a snapshot, which Check has yet to look at.
func decodeSnapshot(r io.Reader) (wire.Snapshot, error) {
	answer := struct {
		wire.Snapshot
		Addresses  few[netip.Addr]           `json:"addresses"`
		Containers few[wire.ContainerStatus] `json:"containers"`
		Events     few[wire.Event]           `json:"events"`
	}{
		Addresses:  few[netip.Addr]{most: maxAddresses},
		Containers: few[wire.ContainerStatus]{most: wire.MaxContainers},
		Events:     few[wire.Event]{most: wire.MaxEvents},
	}
	if err := decode(r, wire.MaxSnapshotBytes, &answer); err != nil {
		return wire.Snapshot{}, err
	}
	s := answer.Snapshot
	s.Addresses, s.Containers, s.Events = answer.Addresses.all, answer.Containers.all, answer.Events.all
	return s, nil
}

// decodeStats reads stats, which checkStats has yet to look at.
func decodeStats(r io.Reader) (wire.Stats, error) {
	answer := struct {
		wire.Stats
		Containers few[wire.ContainerStats] `json:"containers"`
		Interfaces few[wire.InterfaceStats] `json:"interfaces"`
	}{
		Containers: few[wire.ContainerStats]{most: wire.MaxContainers},
		Interfaces: few[wire.InterfaceStats]{most: maxListedInterfaces},
	}
	if err := decode(r, wire.MaxStatsBytes, &answer); err != nil {
		return wire.Stats{}, err
	}
	s := answer.Stats
	s.Containers, s.Interfaces = answer.Containers.all, answer.Interfaces.all
	return s, nil
}

// ready is a wire.Ready as it is decoded.
type ready struct {
	Addresses few[netip.Addr] `json:"addresses"`
}

// decode reads JSON of at most limit bytes. It returns ErrUnreachable where the guest did not send it to its end, and else
// ErrMalformed.
func decode(r io.Reader, limit int64, out any) error {
	var b bytes.Buffer
	_, err := b.ReadFrom(io.LimitReader(r, limit+1))
	switch {
	case int64(b.Len()) > limit:
		return fmt.Errorf("%w: longer than %d bytes", ErrMalformed, limit)
	case err != nil:
		return unreachable(err)
	}
	if err = json.Unmarshal(b.Bytes(), out); err == nil || errors.Is(err, ErrMalformed) {
		return err
	}
	return fmt.Errorf("%w: %s", ErrMalformed, oneLine(err.Error())) // it may quote the guest
}
