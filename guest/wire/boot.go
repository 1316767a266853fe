package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxBootBytes is how large a Boot may be as JSON (the VMware backdoor carries messages of about 64 KiB).
const MaxBootBytes = 32 << 10

// BootVersion is that of Boot.
const BootVersion = 1

// Names under which a hypervisor gives a VM its Boot, in the order in which a guest looks.
const (
	BootGuestInfo = "guestinfo.vic.boot" // VMware's backdoor
	BootFirmware  = "opt/vic/boot"       // QEMU's fw_cfg
	BootVolume    = "PODCFG"             // label of a CD
	BootFile      = "boot.json"          // on it
)

// Boot is what a guest needs to open the channel to its host, where the hypervisor has none for it. Whoever may read the
// VM's configuration can read it: Token is worth one join of one boot, and nothing else in it is secret.
type Boot struct {
	Version int `json:"version"`
	// VM is the name under which the host knows the VM.
	VM string `json:"vm"`
	// Hosts are addresses with ports of the host, which are tried in turn.
	Hosts []string `json:"hosts"`
	// CA are the certificates, in PEM, of which one has signed the host's.
	CA string `json:"ca"`
	// Token is what the guest shows to join.
	Token string `json:"token"`
	// Interfaces are set up before anything else.
	Interfaces []Interface `json:"interfaces"`
	// Time is the host's clock when it wrote this: a guest's clock may be behind, and then no certificate would be valid.
	Time time.Time `json:"time"`
}

// ParseBoot reads a Boot and refuses one that nobody could join with.
func ParseBoot(b []byte) (Boot, error) {
	var boot Boot
	if len(b) > MaxBootBytes {
		return boot, fmt.Errorf("boot blob: %d bytes are more than %d", len(b), MaxBootBytes)
	}
	if err := json.Unmarshal(b, &boot); err != nil {
		return boot, fmt.Errorf("boot blob: %w", err)
	}
	switch {
	case boot.Version != BootVersion:
		return boot, fmt.Errorf("boot blob is of version %d, this guest knows %d", boot.Version, BootVersion)
	case boot.VM == "" || boot.Token == "" || boot.CA == "" || len(boot.Hosts) == 0:
		return boot, errors.New("boot blob lacks vm, token, ca or hosts")
	}
	return boot, nil
}

// A guest speaks TLS with its host, and says by ALPN what it wants. With ProtocolJoin it posts a Join to PathJoin and gets
// a certificate; with that and ProtocolChannel the connection is its channel, on which the host sends the first byte.
const (
	ProtocolJoin    = "http/1.1"
	ProtocolChannel = "vic-guest/1"
	PathJoin        = "/v1/join"
	// HostName is whom the host's certificate is for, wherever it is reached.
	HostName = "host.vic.internal"
)

// Join asks for a certificate. It is refused with status 403 where the token is not the VM's or the VM has another address,
// and with 409 where the VM was not powered on since its last join, as far as the host knows: it may hear of that later.
type Join struct {
	VM    string `json:"vm"`
	Token string `json:"token"`
	// Request is a certificate signing request in PEM. The host uses its public key alone.
	Request string `json:"request"`
}

// Joined is the answer to a Join.
type Joined struct {
	// Certificate is the guest's, in PEM.
	Certificate string `json:"certificate"`
}
