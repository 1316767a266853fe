package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/wait"
)

// ErrPlain says that a hook was answered, but over HTTP where it asks for HTTPS. It is no failure.
var ErrPlain = errors.New("the server speaks HTTP and not HTTPS")

// errNotHook says that an action is for probes only.
var errNotHook = errors.New("this action is no hook")

const maxBody = 10 << 10

// Run runs a hook to its end or until ctx ends.
func Run(ctx context.Context, a wire.Action, t probe.Target) error {
	switch {
	case len(a.Exec) > 0:
		return run(ctx, a.Exec, t)
	case a.HTTP != nil:
		return get(ctx, *a.HTTP, t)
	case a.TCP != nil || a.GRPC != nil:
		return errNotHook
	}
	return wait.For(ctx, a.Sleep) // which may be none at all
}

func run(ctx context.Context, args []string, t probe.Target) error {
	code, output, err := t.Exec(ctx, args, 0)
	switch {
	case err != nil:
		return fmt.Errorf("run %q: %w", args, err)
	case code != 0:
		return fmt.Errorf("run %q: exit code %d: %s", args, code, output)
	}
	return nil
}

// get asks again over HTTP where the server has no TLS, as the kubelet does.
func get(ctx context.Context, a wire.HTTPAction, t probe.Target) error {
	r, err := probe.Request(ctx, a, t.Address, probe.AgentHook)
	if err != nil {
		return err
	}
	if err = do(r); err == nil || !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return err
	}
	r = r.Clone(ctx)
	r.URL.Scheme = "http"
	r.Header.Del("Authorization")
	if do(r) == nil {
		return fmt.Errorf("ask %s: %w", r.URL.Host, ErrPlain)
	}
	return err
}

// do returns when there is an answer, whichever it is.
func do(r *http.Request) error {
	resp, err := probe.Client(0).Do(r)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // the answer is of no interest
	return resp.Body.Close()
}
