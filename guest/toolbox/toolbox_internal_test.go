package toolbox

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var errBroken = errors.New("broken")

// hypervisor asks one thing after the other, and keeps what it is answered and reported.
type hypervisor struct {
	asks     []string // "" is nothing
	answers  []string
	reported []string
	says     string // to what it is reported
	opened   int
	isOpen   bool
	breaks   bool // the next time that it is asked
	unopened bool // it can't be opened
}

// asking is the channel by which it asks, reporting that by which it is reported.
type (
	asking    struct{ *hypervisor }
	reporting struct{ *hypervisor }
)

func (h asking) open() error {
	if h.unopened {
		return errBroken
	}
	h.opened, h.isOpen = h.opened+1, true
	return nil
}

func (h asking) close() { h.isOpen = false }

func (h asking) send(m []byte) error {
	if h.breaks {
		h.breaks = false
		return errBroken
	}
	if len(m) > 0 {
		h.answers = append(h.answers, string(m))
	}
	return nil
}

func (h asking) receive() ([]byte, error) {
	if len(h.asks) == 0 {
		return nil, nil
	}
	next := h.asks[0]
	h.asks = h.asks[1:]
	return []byte(next), nil
}

func (h reporting) open() error { return nil }

func (h reporting) close() {}

func (h reporting) send(m []byte) error {
	h.reported = append(h.reported, string(m))
	return nil
}

func (h reporting) receive() ([]byte, error) { return []byte(h.says), nil }

// served has a guest serve a hypervisor for a while; it returns how often the guest was to stop.
func served(t *testing.T, h *hypervisor, d time.Duration) (stops int) {
	t.Helper()
	if h.says == "" {
		h.says = "1 "
	}
	s := &service{Config: Config{
		Interfaces: func() ([]Interface, error) {
			return []Interface{{MAC: "00:50:56:09:00:02", Addresses: []netip.Prefix{
				netip.MustParsePrefix("10.9.0.2/24"), netip.MustParsePrefix("fd00::2/64"),
			}}}, nil
		},
		Stop: func() { stops++ },
	}, in: asking{h}, out: reporting{h}}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		s.run(ctx)
	})
	assert.False(t, h.isOpen)
	return stops
}

// nics is what govmomi's toolbox (v0.55.0) makes of the same interface.
const nics = "5365744775657374496e666f202039200000000300000001000000010000001130303a35303a35363a30393a30303a30320000000000000200000001000000040a" +
	"090002000000180000000000000001000000010000000200000010fd00000000000000000000000000000200000040000000000000000100000001000000000000" +
	"000000000000000000000000000000000000000000000000000000000000"

func addressesReported(t *testing.T) string {
	t.Helper()
	b, err := hex.DecodeString(nics)
	require.NoError(t, err)
	return string(b)
}

func TestTheHypervisorIsNotified(t *testing.T) {
	for request, tt := range map[string]struct {
		answer   string
		reported []string
	}{
		"reset":                                 {"OK ATR toolbox", []string{addressesReported(t)}},
		"ping\x00":                              {"OK ", nil},
		"Capabilities_Register":                 {"OK ", []string{"tools.set.version 2147483647", "tools.capability.statechange"}},
		"Set_Option broadcastIP 1\x00":          {"OK ", []string{"info-set guestinfo.ip 10.9.0.2", addressesReported(t)}},
		"Set_Option synctime 1":                 {"OK ", nil},
		"Set_Option":                            {"OK ", nil},
		"OS_PowerOn":                            {"OK ", []string{"tools.os.statechange.status 1 3\x00"}},
		"OS_Resume":                             {"OK ", []string{"tools.os.statechange.status 1 4\x00"}},
		"OS_Suspend":                            {"OK ", []string{"tools.os.statechange.status 1 5\x00"}},
		"Vix_1_Relayed_Command \"reqname\" abc": {"Unknown Command", nil},
		"f ":                                    {"Unknown Command", nil},
		" ":                                     {"Unknown Command", nil},
	} {
		t.Run(request, func(t *testing.T) {
			h := &hypervisor{asks: []string{request}}
			assert.Zero(t, served(t, h, time.Second))
			assert.Equal(t, []string{tt.answer}, h.answers)
			assert.Equal(t, tt.reported, h.reported)
		})
	}
}

func TestTheMachineIsShutDown(t *testing.T) {
	for request, status := range map[string]string{"OS_Halt": "1", "OS_Reboot": "2"} {
		h := &hypervisor{asks: []string{"ping", "", request, "ping"}}
		assert.Equal(t, 1, served(t, h, time.Second))
		assert.Equal(t, []string{"tools.os.statechange.status 1 " + status + "\x00"}, h.reported)
		assert.Equal(t, []string{"OK ", "OK ", "OK "}, h.answers, "it answers while it ends")
	}
}

func TestAHypervisorThatRefusesIsAnswered(t *testing.T) {
	h := &hypervisor{asks: []string{"reset", "OS_Halt"}, says: "0 no"}
	assert.Equal(t, 1, served(t, h, time.Second), "it is shut down all the same")
	assert.Equal(t, []string{"OK ATR toolbox", "ERR "}, h.answers)
}

func TestAChannelThatBreaksIsOpenedAgain(t *testing.T) {
	h := &hypervisor{asks: []string{"ping"}, breaks: true}
	served(t, h, brokenPause/2)
	assert.Equal(t, 1, h.opened)
	assert.Empty(t, h.answers)
	served(t, h, brokenPause)
	assert.Equal(t, 2, h.opened)
	assert.Equal(t, []string{"OK "}, h.answers)
	never := &hypervisor{unopened: true}
	served(t, never, 3*brokenPause)
	assert.Zero(t, never.opened)
}

func TestMoreInterfacesThanTheHypervisorTakes(t *testing.T) {
	many := make([]Interface, maxInterfaces+5)
	assert.Equal(t, nicInfo(many[:maxInterfaces]), nicInfo(many))
}

func TestSystemInterfacesHaveAddresses(t *testing.T) {
	found, err := SystemInterfaces()
	require.NoError(t, err)
	for _, i := range found {
		assert.NotEmpty(t, i.MAC)
		assert.NotEmpty(t, i.Addresses)
	}
}

// TestElsewhereNothingIsTouched runs where tests do: not on VMware's hypervisor, or it would wait for the end of ctx.
func TestElsewhereNothingIsTouched(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, Run(ctx, Config{}))
}
