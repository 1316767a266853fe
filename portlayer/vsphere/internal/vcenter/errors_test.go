package vcenter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

func TestWhatMaySucceedLaterIsBusy(t *testing.T) {
	tests := map[string]struct {
		err  error
		busy bool
	}{
		"no connection":                  {&url.Error{Op: "Post", Err: io.EOF}, true},
		"an answer that breaks off":      {fmt.Errorf("decode: %w", io.ErrUnexpectedEOF), true},
		"a connection that is reset":     {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, true},
		"a task that vCenter has lost":   {fmt.Errorf("power on: %w", vcenter.ErrTaskLost), true},
		"a caller that waits no longer":  {&url.Error{Op: "Post", Err: context.DeadlineExceeded}, false},
		"a question that makes no sense": {errors.New("invalid argument"), false},
		"what went well":                 {nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tt.busy, errors.Is(vcenter.Translate(tt.err), portlayer.ErrBusy))
		})
	}
}
