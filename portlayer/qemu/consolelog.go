package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

// ConsoleLog reads a VM's console from outside, also while another process has the VM. It is not safe for concurrent use.
type ConsoleLog struct {
	vm   *podVM
	file *os.File // what was read last; nil before the first Read, or where there is none
}

// OpenConsole returns the console of a VM of the VCH in dir. portlayer.ErrNotFound.
func OpenConsole(dir, uid string) (*ConsoleLog, error) {
	v, _, err := outside(dir, uid)
	if err != nil {
		return nil, fmt.Errorf("console of VM %q: %w", uid, err)
	}
	return &ConsoleLog{vm: v}, nil
}

// Close ends reading.
func (c *ConsoleLog) Close() {
	if c.file != nil {
		_ = c.file.Close() // it was only read
	}
	c.file = nil
}

// Running reports whether more may come of the boot that ran when the console was opened.
func (c *ConsoleLog) Running() bool {
	alive, err := filelock.Held(c.vm.path(aliveFile))
	if err != nil || !alive {
		return false
	}
	r, err := readRecord(c.vm.dir)
	return err == nil && r.StartedAt.Equal(c.vm.record.StartedAt)
}

// Read returns what came since the Read before; the first one returns all that is kept, which is at most a MiB. The
// process that has the VM moves the console to where it is read, in its own time; where no process has it, Read does.
func (c *ConsoleLog) Read(ctx context.Context) ([]byte, error) {
	c.pull(ctx)
	var all []byte
	if c.file == nil {
		var err error
		if all, err = c.first(); err != nil || c.file == nil {
			return all, err
		}
	}
	b, err := readRest(c.file)
	all = append(all, b...)
	if err != nil {
		return all, err
	}
	next, err := os.Open(c.vm.path(consoleFile))
	if err != nil {
		if absent(err) { // the VM was removed
			err = nil
		}
		return all, err
	}
	if sameFile(next, c.file) {
		return all, next.Close()
	}
	if b, err = readRest(c.file); err != nil { // what came before the files changed places
		return all, errors.Join(err, next.Close())
	}
	c.Close()
	c.file = next
	rest, err := readRest(next)
	return append(append(all, b...), rest...), err
}

// first opens the console and returns what the older file has.
func (c *ConsoleLog) first() ([]byte, error) {
	file, err := os.Open(c.vm.path(consoleFile))
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c.file = file
	former, err := os.Open(c.vm.path(consoleFormer))
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer former.Close()
	if sameFile(former, file) { // they changed places just now
		return nil, nil
	}
	return readRest(former)
}

func sameFile(a, b *os.File) bool {
	one, errOne := a.Stat()
	other, errOther := b.Stat()
	return errOne == nil && errOther == nil && os.SameFile(one, other)
}

// readRest reads to the end, but no more than a console has: it grows while it is read.
func readRest(f *os.File) ([]byte, error) { return io.ReadAll(io.LimitReader(f, consoleKept)) }

// pull moves the console from the ring of a QEMU that no process has. Where that does not work the files have the rest.
func (c *ConsoleLog) pull(ctx context.Context) {
	held, err := filelock.Try(c.vm.path(lockFile))
	if err != nil {
		return
	}
	defer held.Close()
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	p, conn, err := approach(ctx, c.vm, c.vm.record)
	if err != nil {
		return
	}
	defer p.release()
	if conn == nil {
		return
	}
	connect := func() (*qmp.Client, error) { return qmp.New(ctx, conn, nil) }
	if p.handshake(ctx, connect, c.vm.record.UUID) == nil {
		_ = c.vm.drain(ctx, p) // the ring keeps what could not be moved
	}
}
