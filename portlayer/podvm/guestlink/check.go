package guestlink

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	maxReasonBytes = 128
	maxExitCode    = 255
	maxSignal      = 64
	maxBackoff     = time.Hour
	// maxRestarts is more than there are, and leaves room for those to come.
	maxRestarts = 1 << 30
	// unknownReason stands for a reason that is none.
	unknownReason = "Unknown"
	// maxAhead is how far a guest's clock may be ahead of ours before its times are not believed.
	maxAhead = 24 * time.Hour
)

var (
	bootForm      = regexp.MustCompile(`^[0-9A-Za-z-]{1,64}$`)
	containerForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	reasonForm    = regexp.MustCompile(`^[A-Za-z0-9]{1,64}$`)
)

// Expect is what a guest may report.
type Expect struct {
	Containers []string
	Addresses  []netip.Addr
}

// Check returns s with everything cut down to what a guest of ours could say: the VM's own containers and addresses,
// texts, numbers and times within bounds. It refuses with ErrMalformed what has no sensible reading.
func Check(s wire.Snapshot, expect Expect) (*wire.Snapshot, error) {
	phases := []wire.Phase{wire.PhaseWaiting, wire.PhaseConfigured, wire.PhaseStopping, wire.PhaseDone}
	switch {
	case !bootForm.MatchString(s.BootID):
		return nil, fmt.Errorf("%w: boot id %q", ErrMalformed, clean(s.BootID, maxReasonBytes))
	case !slices.Contains(phases, s.Phase):
		return nil, fmt.Errorf("%w: phase %q", ErrMalformed, clean(string(s.Phase), maxReasonBytes))
	case len(s.Containers) > wire.MaxContainers || len(s.Events) > wire.MaxEvents:
		return nil, fmt.Errorf("%w: %d containers, %d events", ErrMalformed, len(s.Containers), len(s.Events))
	}
	s.Time = sane(s.Time)
	s.StopReason = clean(s.StopReason, wire.MaxMessageBytes)
	s.Addresses = slices.DeleteFunc(slices.Clone(s.Addresses), func(a netip.Addr) bool {
		return !slices.Contains(expect.Addresses, a)
	})
	containers := make([]wire.ContainerStatus, 0, len(s.Containers))
	for _, c := range s.Containers {
		seen := slices.ContainsFunc(containers, func(o wire.ContainerStatus) bool { return o.Name == c.Name })
		if seen || !slices.Contains(expect.Containers, c.Name) {
			continue
		}
		c, err := checkContainer(c)
		if err != nil {
			return nil, err
		}
		containers = append(containers, c)
	}
	s.Containers = containers
	s.Events = checkEvents(s.Events, expect)
	return &s, nil
}

func checkContainer(c wire.ContainerStatus) (wire.ContainerStatus, error) {
	states := []wire.ContainerState{wire.ContainerWaiting, wire.ContainerRunning, wire.ContainerTerminated}
	if !slices.Contains(states, c.State) || (c.State == wire.ContainerTerminated) != (c.Current != nil) {
		return c, fmt.Errorf("%w: container %s is in state %q", ErrMalformed, c.Name, clean(string(c.State), maxReasonBytes))
	}
	c.Revision = clean(c.Revision, wire.MaxRevisionBytes)
	if c.Reason != "" {
		c.Reason = checkReason(c.Reason)
	}
	c.Message = clean(c.Message, wire.MaxMessageBytes)
	c.ID = checkID(c.ID)
	c.StartedAt, c.NextStart = sane(c.StartedAt), sane(c.NextStart)
	c.RestartCount = min(max(c.RestartCount, 0), maxRestarts)
	c.Backoff = min(max(c.Backoff, 0), maxBackoff)
	c.LogBytes = max(c.LogBytes, 0)
	c.Current = checkTerminated(c.Current, c.RestartCount)
	c.Last = checkTerminated(c.Last, c.RestartCount)
	return c, nil
}

func checkTerminated(t *wire.Terminated, latest int32) *wire.Terminated {
	if t == nil {
		return nil
	}
	c := *t
	c.ID = checkID(c.ID)
	c.ExitCode = min(max(c.ExitCode, 0), maxExitCode)
	c.Signal = min(max(c.Signal, 0), maxSignal)
	c.Reason = checkReason(c.Reason)
	c.Message = clean(c.Message, wire.MaxMessageBytes)
	c.StartedAt, c.FinishedAt = sane(c.StartedAt), sane(c.FinishedAt)
	c.Attempt = min(max(c.Attempt, 0), latest)
	c.LogBytes = max(c.LogBytes, 0)
	return &c
}

// checkEvents keeps events of known containers, in order.
func checkEvents(events []wire.Event, expect Expect) []wire.Event {
	var kept []wire.Event
	var latest uint64
	for _, e := range events {
		if e.Seq <= latest || (e.Container != "" && !slices.Contains(expect.Containers, e.Container)) {
			continue
		}
		latest = e.Seq
		e.Time = sane(e.Time)
		e.Reason = checkReason(e.Reason)
		e.Message = clean(e.Message, wire.MaxMessageBytes)
		kept = append(kept, e)
	}
	return kept
}

// newer reports whether s says more than known: it is of another boot, or of a later generation.
func newer(s, known *wire.Snapshot) bool {
	return known == nil || s.BootID != known.BootID || s.Generation > known.Generation
}

// checkReason returns a reason, which is one CamelCase word.
func checkReason(reason string) string {
	if reasonForm.MatchString(reason) {
		return reason
	}
	return unknownReason
}

func checkID(id string) string {
	if containerForm.MatchString(id) {
		return id
	}
	return ""
}

// sane returns t, or the zero time where t cannot be the time of something that happened to a pod.
func sane(t time.Time) time.Time {
	if t.Year() < 1970 || t.After(time.Now().Add(maxAhead)) {
		return time.Time{}
	}
	return t
}

// oneLine is a guest's word in an error: users see it in their terminals, which must not obey it.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, clean(s, maxErrorBytes))
	return strings.TrimSpace(s)
}

// clean cuts s to limit bytes of valid text. Ends of lines and tabs are the only control characters that stay: others take six
// bytes each in JSON, and steer the terminal of who reads them.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) <= limit {
		return s
	}
	s = s[:limit]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}
