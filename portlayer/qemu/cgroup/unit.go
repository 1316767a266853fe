package cgroup

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// unitSlice holds the units of all pod VMs of the host, so that an administrator can limit them together.
	unitSlice = "vic.slice"
	// unitTimeout bounds a conversation with systemd, which a VM's start waits for.
	unitTimeout = 5 * time.Second
	// unitJobDone is systemd's word for a job that succeeded (org.freedesktop.systemd1(5), JobRemoved).
	unitJobDone = "done"
	// weightNotSet is systemd's number for the weight of a unit that has none.
	weightNotSet = math.MaxUint64
)

// startUnit puts a QEMU into a transient systemd unit of its own, of type scope. systemd then bounds its memory and weighs
// its share of the processors, and the end of the service that started it does not end it. The unit goes with its process.
func startUnit(ctx context.Context, g Group, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, unitTimeout)
	defer cancel()
	connect := systemd.NewSystemdConnectionContext
	if os.Geteuid() != 0 {
		connect = systemd.NewUserConnectionContext
	}
	conn, err := connect(ctx)
	if err != nil {
		return fmt.Errorf("connect to systemd: %w", err)
	}
	defer conn.Close()
	if err := runUnit(ctx, conn, g, pid); err != nil {
		return err
	}
	if err := weighSlice(ctx, conn); err != nil {
		logging.From(ctx).DebugContext(ctx, "pod VMs weigh as one service does", "err", err)
	}
	return nil
}

// manager is the part of systemd that is asked.
type manager interface {
	StartTransientUnitContext(ctx context.Context, name, mode string, properties []systemd.Property, done chan<- string) (int, error)
	GetUnitTypePropertyContext(ctx context.Context, unit, kind, name string) (*systemd.Property, error)
	SetUnitPropertiesContext(ctx context.Context, name string, runtime bool, properties ...systemd.Property) error
}

// weighSlice has all VMs together weigh as much as the host has processors, until the host's next start, unless an
// administrator has given their slice another weight.
func weighSlice(ctx context.Context, conn manager) error {
	now, err := conn.GetUnitTypePropertyContext(ctx, unitSlice, "Slice", "CPUWeight")
	if err != nil {
		return fmt.Errorf("ask for the weight of %s: %w", unitSlice, err)
	}
	if weight, ok := now.Value.Value().(uint64); !ok || weight != weightNotSet {
		return nil
	}
	if err := conn.SetUnitPropertiesContext(ctx, unitSlice, true, property("CPUWeight", uint64(allVMs().cpuWeight()))); err != nil {
		return fmt.Errorf("weigh %s: %w", unitSlice, err)
	}
	return nil
}

// runUnit returns when the unit runs.
func runUnit(ctx context.Context, conn manager, g Group, pid int) error {
	name := unitName(g, pid)
	result := make(chan string, 1)
	if _, err := conn.StartTransientUnitContext(ctx, name, "fail", unitProperties(g, pid), result); err != nil {
		return fmt.Errorf("start unit %s: %w", name, err)
	}
	select {
	case word := <-result:
		if word != unitJobDone {
			return fmt.Errorf("start unit %s: its job ended as %q", name, word)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("start unit %s: %w", name, ctx.Err())
	}
}

// unitName differs between two boots of one VM, since systemd may still know the unit of the former.
func unitName(g Group, pid int) string {
	return fmt.Sprintf("%s-%d.scope", strings.ReplaceAll(ownGroup(g.VCH, g.UID), string(filepath.Separator), "-"), pid)
}

func unitProperties(g Group, pid int) []systemd.Property {
	properties := []systemd.Property{
		systemd.PropDescription(g.Description),
		systemd.PropSlice(unitSlice),
		systemd.PropPids(uint32(pid)),
		property("CollectMode", "inactive-or-failed"),
		property("MemoryAccounting", true),
		property("MemoryMax", uint64(g.MemoryBytes)),
		property("MemorySwapMax", uint64(0)),
		property("CPUWeight", uint64(g.cpuWeight())),
	}
	if g.Tasks > 0 {
		properties = append(properties, property("TasksMax", uint64(g.Tasks)))
	}
	return properties
}

func property(name string, value any) systemd.Property {
	return systemd.Property{Name: name, Value: dbus.MakeVariant(value)}
}

// SystemdRuns reports whether systemd manages this host, or what looks like one from here (sd_booted(3)).
func SystemdRuns() bool {
	info, err := os.Lstat("/run/systemd/system")
	return err == nil && info.IsDir()
}
