package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/wait"
)

// ErrPlain says that a hook was answered, but over HTTP where it asks for HTTPS. It is not a failure.
var ErrPlain = errors.New("the server speaks HTTP and not HTTPS")

// errNotHook says that an action is for probes only.
var errNotHook = errors.New("this action is not a hook")

const maxBody = 10 << 10

// Hook runs a hook of a container's life to its end or until ctx ends. What counts as a failure is as with the kubelet: a
// command's exit code, and of a request only that there is no answer.
func Hook(ctx context.Context, a wire.Action, t Target) error {
	switch {
	case len(a.Exec) > 0:
		return hookExec(ctx, a.Exec, t)
	case a.HTTP != nil:
		return hookHTTP(ctx, *a.HTTP, t)
	case a.TCP != nil || a.GRPC != nil:
		return errNotHook
	}
	return wait.For(ctx, a.Sleep) // which may be none at all
}

func hookExec(ctx context.Context, args []string, t Target) error {
	code, output, err := t.Exec(ctx, args, 0)
	switch {
	case err != nil:
		return fmt.Errorf("run %q: %w", args, err)
	case code != 0:
		return fmt.Errorf("run %q: exit code %d: %s", args, code, output)
	}
	return nil
}

// hookHTTP asks again over HTTP where the server has no TLS, as the kubelet does.
func hookHTTP(ctx context.Context, a wire.HTTPAction, t Target) error {
	r, err := Request(ctx, a, t.Address, AgentHook)
	if err != nil {
		return err
	}
	if err = ask(a, r); err == nil || !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return err
	}
	r = r.Clone(ctx)
	r.URL.Scheme = "http"
	r.Header.Del("Authorization")
	if ask(a, r) == nil {
		return fmt.Errorf("ask %s: %w", r.URL.Host, ErrPlain)
	}
	return err
}

// ask returns when there is an answer, whichever it is.
func ask(a wire.HTTPAction, r *http.Request) error {
	resp, err := Client(a, 0).Do(r)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // the answer is of no interest
	return resp.Body.Close()
}
