package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
)

// ScopeName is the name of the scope that a Network is, as VIC named its default.
const ScopeName = "bridge"

// Translation sends what pods send to one address to another: the way to a service before there are services.
type Translation struct {
	From, To netip.AddrPort
}

// Config describes a Network.
type Config struct {
	// Dir is the VCH's directory; every name derives from it.
	Dir string
	// Subnet is the pods' range, a /16 to /29. When empty a free /24 of 10.128.0.0/9 is chosen once and kept in Dir.
	Subnet netip.Prefix
	// UplinkNAT lets pods reach what the machine reaches, under the machine's address.
	UplinkNAT bool
	// Translate holds TCP translations. A target on the loopback interface can't be reached from pods.
	Translate []Translation
}

// Network is a switch with a gateway. It is safe for concurrent use.
type Network struct {
	config  Config
	names   names
	subnet  netip.Prefix
	gateway netip.Addr
	mtu     int

	mu       sync.Mutex // guards reserved
	reserved []netip.Addr
}

// names are those of one network's parts.
type names struct {
	namespace string // and the machine's nft table
	host      string // the machine's end of the veth
}

// The names within a namespace.
const (
	bridgeName = "br0"
	uplinkName = "uplink"
)

func namesFor(dir string) names {
	sum := sha256.Sum256([]byte(dir))
	hash := hex.EncodeToString(sum[:4])
	return names{namespace: "vic-" + hash, host: "vic" + hash}
}

// Open makes the network of cfg.Dir, or what is missing of it. It needs root.
func Open(ctx context.Context, cfg Config) (*Network, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("open network: %w", err)
	}
	cfg.Dir = dir
	n := &Network{config: cfg, names: namesFor(dir)}
	if err := n.open(ctx); err != nil {
		return nil, fmt.Errorf("open network %s: %w", n.names.namespace, err)
	}
	return n, nil
}

func (n *Network) open(ctx context.Context) error {
	if err := errors.Join(checkMachine(), checkTranslations(n.config.Translate)); err != nil {
		return err
	}
	var err error
	if n.subnet, err = chooseSubnet(n.config, n.names.host); err != nil {
		return err
	}
	n.gateway, n.mtu = n.subnet.Addr().Next(), uplinkMTU()
	if err := n.makeSwitch(ctx); err != nil {
		return err
	}
	if err := n.makeGateway(); err != nil {
		return err
	}
	if err := allowForwarding(ctx); err != nil {
		return err
	}
	if err := nft(ctx, hostRules(n.names, n.subnet, n.config)); err != nil {
		return fmt.Errorf("set the machine's rules: %w", err)
	}
	return nil
}

// checkMachine names everything that is missing, not only the first thing.
func checkMachine() error {
	var err error
	if os.Geteuid() != 0 {
		err = errors.Join(err, errors.New("it needs root; without it, VMs have user-mode networks"))
	}
	if _, e := os.Stat(tunDevice); e != nil {
		err = errors.Join(err, fmt.Errorf("the kernel's tap device is missing (module tun): %w", e))
	}
	if _, e := exec.LookPath(nftBinary); e != nil {
		err = errors.Join(err, fmt.Errorf("find nft (Debian package nftables): %w", e))
	}
	return err
}

func checkTranslations(translations []Translation) error {
	for _, t := range translations {
		if !t.From.Addr().Is4() || !t.To.Addr().Is4() || t.From.Port() == 0 || t.To.Port() == 0 {
			return fmt.Errorf("translation of %s to %s is not one of IPv4 addresses with ports", t.From, t.To)
		}
		if t.To.Addr().IsLoopback() {
			return fmt.Errorf("translation to %s: pods can't reach the loopback interface", t.To)
		}
	}
	return nil
}

// Gateway is the machine's address for the pods.
func (n *Network) Gateway() netip.Addr { return n.gateway }

// Subnet is the pods' range.
func (n *Network) Subnet() netip.Prefix { return n.subnet }

// Name is that of the network namespace, for ip-netns(8).
func (n *Network) Name() string { return n.names.namespace }

// Scope describes the network to the engine, after Sync.
func (n *Network) Scope() portlayer.ScopeConfig {
	n.mu.Lock()
	defer n.mu.Unlock()
	return portlayer.ScopeConfig{Name: ScopeName, Subnet: n.subnet, Gateway: n.gateway, MTU: n.mtu, Reserved: slices.Clone(n.reserved)}
}

// reserve keeps Scope from giving an address away.
func (n *Network) reserve(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Contains(n.reserved, a) {
		n.reserved = append(n.reserved, a)
	}
}

// Down takes the network down; a missing one is not an error. VMs that run lose it. The next Open has the same
// subnet: VMs that are off carry its addresses.
func (n *Network) Down(ctx context.Context) error { return n.names.drop(ctx) }

// Purge takes down what there is of the network of the VCH in dir, also where it was left half made, and forgets its
// subnet.
func Purge(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("purge network: %w", err)
	}
	return errors.Join(namesFor(dir).drop(ctx), dropSubnet(dir))
}

func (n names) drop(ctx context.Context) error {
	if err := errors.Join(dropTable(ctx, n.namespace), dropLink(n.host), dropNamespace(n.namespace)); err != nil {
		return fmt.Errorf("take down network %s: %w", n.namespace, err)
	}
	return nil
}

// allowForwarding lets the machine pass packets on, which a new one does not.
func allowForwarding(ctx context.Context) error {
	const file = "/proc/sys/net/ipv4/ip_forward"
	now, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("allow forwarding: %w", err)
	}
	if len(now) > 0 && now[0] != '0' {
		return nil
	}
	if err := os.WriteFile(file, []byte("1"), 0); err != nil {
		return fmt.Errorf("allow forwarding: %w", err)
	}
	logging.From(ctx).InfoContext(ctx, "machine forwards IPv4 from now on, for pods to reach its networks", "file", file)
	return nil
}
