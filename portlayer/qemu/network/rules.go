package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
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
func switchRules(ports []Port, mode portsMode) string {
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
	for _, p := range ports {
		b.WriteString(portRules("add", p))
	}
	return b.String()
}

// portRules adds or deletes what lets a VM send.
func portRules(verb string, p Port) string {
	return fmt.Sprintf("%[1]s element bridge %[2]s macs { %[3]q . %[4]s }\n"+
		"%[1]s element bridge %[2]s sources { %[3]q . %[4]s . %[5]s }\n", verb, switchTable, p.link(), p.MAC, p.Address)
}

// nft runs one transaction in this namespace.
func nft(ctx context.Context, script string) error {
	cmd := exec.CommandContext(ctx, nftBinary, "-f", "-")
	cmd.Stdin, cmd.Env = strings.NewReader(script), append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) > 0 {
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return errors.Join(fmt.Errorf("nft: %s", line), context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("run nft: %w", err)
	}
	return nil
}

// nftIn runs one transaction in another namespace.
func nftIn(ctx context.Context, namespace, script string) error {
	return inNamespace(namespace, func() error { return nft(ctx, script) })
}
