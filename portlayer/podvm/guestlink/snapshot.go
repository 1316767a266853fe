package guestlink

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	greetTimeout = 30 * time.Second
	// answerTimeout is how long after its wait a guest may take to answer with a snapshot.
	answerTimeout = 30 * time.Second
	// A guest is asked for so many snapshots at once and so many a second, in whatever sessions: each may be a write to the disk
	// of the host and one to the API server. What is not asked for is not lost, since a snapshot is complete in itself.
	snapshotBurst = 20
	snapshotRate  = 1
)

// poller follows the guest's snapshots during one session.
type poller struct {
	link    *Link
	session *session
	logs    *copiers
	known   *wire.Snapshot // the latest, of whatever session
	bootID  string
	clock   *clock
}

// greet asks who is there and takes the first snapshot, so that it is there when the greeting is announced.
func (p *poller) greet(ctx context.Context) error {
	var hello wire.Hello
	timed, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	if err := p.session.call(timed, http.MethodGet, wire.PathHello, nil, &hello); err != nil {
		return fmt.Errorf("greet guest: %w", err)
	}
	if !hello.Configured && !p.knows(hello.BootID) {
		if err := p.session.call(timed, http.MethodPut, wire.PathBoot, wire.BootName{ID: rand.Text()}, &hello); err != nil {
			return fmt.Errorf("name the guest's boot: %w", err)
		}
	}
	if !bootForm.MatchString(hello.BootID) {
		return fmt.Errorf("greet guest: %w: boot id %q", ErrMalformed, clean(hello.BootID, maxReasonBytes))
	}
	p.bootID = hello.BootID
	logging.From(ctx).DebugContext(ctx, "guest greeted", "version", clean(hello.Version, maxReasonBytes))
	return p.next(ctx, nil)
}

// knows is true for a boot that was met before: any other one is new, or a copy of a VM whose boot has a name.
func (p *poller) knows(bootID string) bool {
	latest, _ := p.link.Greeted()
	return bootID != "" && (bootID == latest || p.known != nil && p.known.BootID == bootID)
}

// poll waits for one snapshot after the other until the session breaks.
func (p *poller) poll(ctx context.Context) error {
	for {
		if err := p.next(ctx, p.known); err != nil {
			return fmt.Errorf("wait for a snapshot: %w", err)
		}
	}
}

// next takes the guest's next snapshot after the given one, or the present one where that is nil. ctx is the session's.
func (p *poller) next(ctx context.Context, after *wire.Snapshot) error {
	if err := p.link.snapshots.Wait(ctx); err != nil {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, wire.SnapshotWait+answerTimeout)
	defer cancel()
	resp, err := p.session.request(timed, http.MethodGet, wire.PathSnapshot+"?"+p.query(after).Encode(), nil)
	if err != nil {
		return err
	}
	defer closeBody(resp.Body)
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	at, err := p.take(ctx, resp)
	if err == nil {
		p.clock.seen(timed, at)
	}
	return err
}

func (p *poller) query(after *wire.Snapshot) url.Values {
	q := url.Values{}
	if after != nil && after.BootID == p.bootID {
		q.Set("boot", after.BootID)
		q.Set("after", strconv.FormatUint(after.Generation, 10))
	}
	p.link.mu.Lock()
	ack := p.link.ack
	p.link.mu.Unlock()
	if ack.bootID == p.bootID && ack.seq > 0 {
		q.Set("boot", ack.bootID)
		q.Set("ack", strconv.FormatUint(ack.seq, 10))
	}
	return q
}

// take hands a snapshot on when it is newer than what is known, and copies the logs that it has. It returns the guest's
// time.
func (p *poller) take(ctx context.Context, resp *http.Response) (time.Time, error) {
	raw, err := decodeSnapshot(resp.Body)
	if err != nil {
		return time.Time{}, err
	}
	s, err := Check(raw, p.link.config.Expect())
	if err != nil {
		return time.Time{}, err
	}
	if s.BootID != p.bootID {
		return time.Time{}, fmt.Errorf("%w: the boot id changed within a session", ErrMalformed)
	}
	if newer(s, p.known) {
		p.known = s
		p.link.config.OnSnapshot(s)
	}
	p.logs.want(ctx, p.known)
	return raw.Time, nil
}
