//go:build !race

package vsphere_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

// door is a way to a vCenter on which calls get lost.
type door struct {
	server *httptest.Server

	mu sync.Mutex // guards what follows
	// before sees a call and says whether it gets there; after, whether the answer gets back.
	before, after func(call string) bool
	broken        int // calls that are answered 503
}

// throughDoor has v reached by a door from now on.
func throughDoor(t *testing.T, v *vcenter) *door {
	t.Helper()
	always := func(string) bool { return true }
	d := &door{before: always, after: always}
	pass := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			to := *v.HTTP.URL
			to.Path, to.User = "", nil
			r.SetURL(&to)
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		ModifyResponse: func(res *http.Response) error {
			if !d.allows(res.Request.Header.Get("Soapaction"), false) {
				return io.ErrUnexpectedEOF
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	d.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		call := callOf(string(b))
		r.Body = io.NopCloser(strings.NewReader(string(b)))
		r.Header.Set("Soapaction", call)
		switch {
		case !d.allows(call, true):
			panic(http.ErrAbortHandler) // the connection breaks
		case d.isBroken():
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			pass.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { go d.server.Close() }) // waits for questions that were long
	v.Target.Address = d.server.Listener.Addr().String()
	v.Target.CAFile = filepath.Join(t.TempDir(), "door.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: d.server.Certificate().Raw})
	require.NoError(t, os.WriteFile(v.Target.CAFile, ca, 0o600))
	return d
}

var callIn = regexp.MustCompile(`<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?(\w+)`)

// callOf is the method of a SOAP request; others have none.
func callOf(body string) string {
	found := callIn.FindStringSubmatch(body)
	if found == nil {
		return ""
	}
	return found[1]
}

func (d *door) allows(call string, before bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if before {
		return d.before(call)
	}
	return d.after(call)
}

func (d *door) isBroken() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken--
	return d.broken >= 0
}

func (d *door) set(change func(*door)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// shut cuts who is on the way, and lets nobody in.
func (d *door) shut() {
	d.set(func(d *door) { d.before = func(string) bool { return false } })
	d.server.CloseClientConnections()
}

func (d *door) open() { d.set(func(d *door) { d.before = func(string) bool { return true } }) }

func behindDoor(t *testing.T) (*vcenter, *vsphere.Hypervisor, *door) {
	t.Helper()
	v := withGuests(testvcenter.Cluster(t))
	d := throughDoor(t, v)
	return v, v.open(), d
}

func TestVCenterIsAwayForAWhile(t *testing.T) {
	v, h, d := behindDoor(t)
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	d.shut()
	other := spec()
	other.ID = "uid-2"
	_, err = h.Create(t.Context(), other)
	require.ErrorIs(t, err, portlayer.ErrBusy)
	require.ErrorIs(t, h.PowerOff(t.Context(), uid), portlayer.ErrBusy)
	_, err = h.Capacity(t.Context())
	require.ErrorIs(t, err, portlayer.ErrBusy)
	// What was seen before may be wrong. It counts until the watch has broken.
	require.Eventually(t, func() bool { _, err := h.List(t.Context()); return errors.Is(err, portlayer.ErrBusy) }, patience, 100*time.Millisecond)

	v.powerOff()
	d.open()
	changes := h.Watch(t.Context())
	await(t, changes, func() bool {
		vms, err := h.List(t.Context())
		return err == nil && len(vms) == 1 && vms[0].State == portlayer.StateStopped
	})
	_, err = h.Create(t.Context(), other)
	require.NoError(t, err)
	assert.Equal(t, 2, v.vms())
}

func TestAReadThatGetsLostIsRepeated(t *testing.T) {
	_, h, d := behindDoor(t)
	d.set(func(d *door) { d.broken = 2 })
	_, err := h.Capacity(t.Context())
	require.NoError(t, err)
}

// TestACreationWhoseAnswerGetsLost has vCenter make a VM without an answer.
func TestACreationWhoseAnswerGetsLost(t *testing.T) {
	v, h, d := behindDoor(t)
	v.makeStrict()
	lost := 0
	d.set(func(d *door) {
		d.after = func(call string) bool {
			if call == "CreateVM_Task" && lost == 0 {
				lost++
				return false
			}
			return true
		}
	})
	_, err := h.Create(t.Context(), spec())
	if err != nil { // the VM was not there yet when it was looked for
		require.ErrorIs(t, err, portlayer.ErrBusy)
		_, err = h.Create(t.Context(), spec())
		if err != nil {
			require.ErrorIs(t, err, portlayer.ErrExists)
		}
	}
	require.Equal(t, 1, lost)
	require.Eventually(t, func() bool { _, ok := get(t, h); return ok }, patience, 100*time.Millisecond)
	assert.Equal(t, 1, v.vms())
	require.NoError(t, h.PowerOn(context.WithoutCancel(t.Context()), uid))
	require.NoError(t, h.Destroy(t.Context(), uid))
	assert.Zero(t, v.vms())
}

func TestAPasswordThatIsRefusedIsNotShownAgain(t *testing.T) {
	v := withGuests(testvcenter.Cluster(t))
	v.HTTP.URL.User = url.UserPassword("user", "pass")
	v.Model.Service.Listen.User = v.HTTP.URL.User
	d := throughDoor(t, v)
	logins := 0
	d.set(func(d *door) {
		d.before = func(call string) bool {
			if call == "Login" {
				logins++
			}
			return true
		}
	})
	right, err := os.ReadFile(v.Target.PasswordFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(v.Target.PasswordFile, []byte("wrong"), 0o600))
	for range 3 {
		_, err := vsphere.Connect(t.Context(), v.Target)
		require.ErrorContains(t, err, "log in as")
		require.ErrorIs(t, err, vsphere.ErrLoginRefused)
	}
	require.Equal(t, 3, logins, "each process asks once")
	sharing := v.Target
	sharing.Refusals = &vsphere.Refusals{}
	for range 3 {
		_, err := vsphere.Connect(t.Context(), sharing)
		require.ErrorContains(t, err, "log in as")
		require.ErrorIs(t, err, vsphere.ErrLoginRefused)
	}
	require.Equal(t, 4, logins, "sessions that share what was refused ask once")
	require.NoError(t, os.WriteFile(v.Target.PasswordFile, right, 0o600))
	h := v.open()
	require.NoError(t, os.WriteFile(v.Target.PasswordFile, []byte("wrong"), 0o600))
	v.endSessions()
	before := logins
	for range 3 {
		_, err := h.Capacity(t.Context())
		require.ErrorContains(t, err, "log in as")
	}
	require.LessOrEqual(t, logins, before+1)
	require.NoError(t, os.WriteFile(v.Target.PasswordFile, right, 0o600))
	_, err = h.Capacity(t.Context())
	require.NoError(t, err)
}
