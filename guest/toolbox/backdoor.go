package toolbox

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/vmware/vmw-guestinfo/message"
	"github.com/vmware/vmw-guestinfo/vmcheck"
)

// Protocols of the backdoor's channels ("RPCI" and "TCLO" as numbers, as in govmomi's toolbox).
const (
	protocolOut = 0x49435052
	protocolIn  = 0x4f4c4354
)

// Run answers the hypervisor until ctx ends. Where the processor does not say that it is VMware's it returns nil at once: nobody
// else may touch the backdoor's port. It needs root.
func Run(ctx context.Context, c Config) error {
	if !vmcheck.IsVirtualCPU() {
		return nil
	}
	runtime.LockOSThread() // the right to use ports is a thread's
	defer runtime.UnlockOSThread()
	ok, err := vmcheck.IsVirtualWorld(false)
	if err == nil && !ok {
		err = errors.New("it does not answer")
	}
	if err != nil {
		return fmt.Errorf("backdoor: %w", err)
	}
	s := &service{Config: c, in: &backdoor{protocol: protocolIn}, out: &backdoor{protocol: protocolOut}}
	s.run(ctx)
	return nil
}

// backdoor is a channel of vmw-guestinfo's.
type backdoor struct {
	protocol uint32
	channel  *message.Channel
}

func (b *backdoor) open() error {
	var err error
	b.channel, err = message.NewChannel(b.protocol)
	return err
}

func (b *backdoor) close() {
	_ = b.channel.Close() // it is opened anew
}

func (b *backdoor) send(m []byte) error { return b.channel.Send(m) }

func (b *backdoor) receive() ([]byte, error) { return b.channel.Receive() }
