package qemu

import (
	"context"
	"errors"
	"fmt"

	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

// errSilent says that QEMU lives and has not answered since we found it.
var errSilent = errors.New("QEMU does not answer")

// handshake makes what connect returns the process's control connection, once it has shown that it is the VM of that UUID.
func (p *process) handshake(ctx context.Context, connect func() (*qmp.Client, error), uuid string) error {
	client, err := connect()
	if err != nil {
		return err
	}
	var answer struct{ UUID string }
	if err := client.Execute(ctx, qmp.Command{Name: "query-uuid"}, &answer); err != nil {
		client.Close()
		return err
	}
	if answer.UUID != uuid {
		client.Close()
		return fmt.Errorf("the VM's UUID is %s, not %s", printable(answer.UUID, 40), uuid)
	}
	if !p.keep(client) {
		client.Close()
		return qmp.ErrClosed
	}
	return nil
}

// keep makes client the control connection. False says that p was released.
func (p *process) keep(client *qmp.Client) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.released:
		return false
	default:
		p.client = client
		return true
	}
}

// control is the connection to QEMU; nil while QEMU has not answered.
func (p *process) control() *qmp.Client {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client
}

// execute has QEMU carry out one command. errSilent where it has not answered yet.
func (p *process) execute(ctx context.Context, cmd qmp.Command, result any) error {
	control := p.control()
	if control == nil {
		return errSilent
	}
	return control.Execute(ctx, cmd, result)
}

// catchUp learns what happened while nobody listened to the VM's events.
func (p *process) catchUp(ctx context.Context) error {
	var answer struct{ Status string }
	if err := p.execute(ctx, qmp.Command{Name: "query-status"}, &answer); err != nil {
		return err
	}
	switch answer.Status {
	case "shutdown":
		p.halt("the guest powered off")
	case "guest-panicked":
		p.halt("the guest's kernel panicked")
	case "internal-error":
		p.halt("QEMU met an internal error")
	case "io-error":
		p.setPaused(true)
	}
	return nil
}
