package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

const (
	nftBinary   = "nft"
	switchTable = "vic"
)

// hostRules are the machine's, as one transaction that replaces what is there.
//
// Pods reach out and get answers; nothing else is passed on to them, and nothing from them under a foreign address. To
// and from the machine itself nothing is filtered.
func hostRules(n names, subnet netip.Prefix, cfg Config) string {
	var b strings.Builder
	fmt.Fprintf(&b, "add table ip %[1]s\ndelete table ip %[1]s\ntable ip %[1]s {\n", n.namespace)
	b.WriteString("chain prerouting { type nat hook prerouting priority -100; policy accept;\n")
	for _, t := range cfg.Translate {
		fmt.Fprintf(&b, "iifname %q ip daddr %s tcp dport %d dnat to %s\n", n.host, t.From.Addr(), t.From.Port(), t.To)
	}
	b.WriteString("}\nchain postrouting { type nat hook postrouting priority 100; policy accept;\n")
	if cfg.UplinkNAT {
		fmt.Fprintf(&b, "ip saddr %s oifname != %q masquerade\n", subnet, n.host)
	}
	b.WriteString("}\nchain forward { type filter hook forward priority 0; policy accept;\n")
	fmt.Fprintf(&b, "iifname %q ip saddr != %s drop\n", n.host, subnet)
	fmt.Fprintf(&b, "oifname %q ct state established,related accept\n", n.host)
	fmt.Fprintf(&b, "iifname != %[1]q oifname %[1]q drop\n}\n}\n", n.host)
	return b.String()
}

func dropTable(ctx context.Context, table string) error {
	if _, err := exec.LookPath(nftBinary); errors.Is(err, exec.ErrNotFound) {
		return nil // then there is no table either
	}
	return nft(ctx, fmt.Sprintf("add table ip %[1]s\ndelete table ip %[1]s\n", table))
}

// portsMode says what happens to ports that the switch has already.
type portsMode bool

const (
	keepPorts    portsMode = true
	replacePorts portsMode = false
)

// switchRules are those of the bridge: a frame from a VM passes when it is ARP or IPv4 and all its sender's addresses
// are the VM's. An ARP probe, which has no IP address yet, passes too (RFC 5227).
func switchRules(entries []entry, mode portsMode) string {
	var b strings.Builder
	fmt.Fprintf(&b, "add table bridge %s\n", switchTable)
	if mode == replacePorts {
		fmt.Fprintf(&b, "delete table bridge %s\n", switchTable)
	}
	fmt.Fprintf(&b, `table bridge %s {
set macs { type ifname . ether_addr; }
set sources { type ifname . ether_addr . ipv4_addr; }
chain ports { type filter hook prerouting priority -300; policy drop; }
}
flush chain bridge %[1]s ports
table bridge %[1]s {
chain ports {
iifname %q ether type { arp, ip } accept
ether type arp iifname . ether saddr @macs iifname . arp saddr ether . arp saddr ip @sources accept
ether type arp iifname . ether saddr @macs iifname . arp saddr ether @macs arp saddr ip 0.0.0.0 accept
ether type ip iifname . ether saddr . ip saddr @sources accept
}
}
`, switchTable, uplinkName)
	for _, e := range entries {
		b.WriteString(e.rules("add"))
	}
	return b.String()
}

// entry lets the VM behind a link send from its addresses.
type entry struct {
	link, mac string
	address   netip.Addr
}

// rules add or delete the entry.
func (e entry) rules(verb string) string {
	return fmt.Sprintf("%[1]s element bridge %[2]s macs { %[3]q . %[4]s }\n"+
		"%[1]s element bridge %[2]s sources { %[3]q . %[4]s . %[5]s }\n", verb, switchTable, e.link, e.mac, e.address)
}

// listedEntry is an element of the set of sources as nft lists it.
var listedEntry = regexp.MustCompile(`"?(` + tapPrefix + `[0-9a-f]{12})"? \. ([0-9a-f:]{17}) \. ([0-9.]+)`)

// keptEntries are those that the switch of this namespace has for ports of these keys.
func keptEntries(ctx context.Context, keys []string) ([]entry, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	wanted := map[string]bool{}
	for _, key := range keys {
		wanted[Port{Key: key}.link()] = true
	}
	out, err := runNFT(exec.CommandContext(ctx, nftBinary, "list", "set", "bridge", switchTable, "sources"))
	if err != nil {
		return nil, err
	}
	var kept []entry
	for _, m := range listedEntry.FindAllStringSubmatch(out, -1) {
		address, err := netip.ParseAddr(m[3])
		if err == nil && wanted[m[1]] {
			kept = append(kept, entry{m[1], m[2], address})
		}
	}
	return kept, nil
}

// nft runs one transaction in this namespace.
func nft(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, nftBinary, "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	_, err := runNFT(cmd)
	if err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// runNFT returns what nft says.
func runNFT(cmd *exec.Cmd) (string, error) {
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) > 0 {
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("nft: %s", line)
	}
	if err != nil {
		return "", fmt.Errorf("run nft: %w", err)
	}
	return string(out), nil
}

// nftIn runs one transaction in another namespace.
func nftIn(ctx context.Context, namespace, script string) error {
	return inNamespace(namespace, func() error { return nft(ctx, script) })
}
