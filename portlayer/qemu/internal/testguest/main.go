package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	portName = "vic.guest.0"
	step     = 5 * time.Millisecond
	patience = 60 * time.Second
)

func main() {
	if err := boot(); err != nil {
		fmt.Fprintln(os.Stderr, "testguest:", err)
		powerOff()
	}
	fmt.Fprintln(os.Stderr, "testguest: up")
	for {
		serve(await(findPort))
	}
}

func boot() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	if slices.Contains(strings.Fields(string(line)), "vic.probe") {
		fmt.Fprintln(os.Stderr, "vic-guest: probe ok")
		powerOff()
	}
	list, err := os.ReadFile("/modules/load")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		f, err := os.Open(filepath.Join("/modules", name))
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && err != unix.EEXIST {
			fmt.Fprintln(os.Stderr, "testguest: load", name, err)
		}
		_ = f.Close() // it was only read
	}
	return nil
}

func powerOff() {
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) // there is nobody to report an error to
	select {}
}

// await returns what find finds, or panics, which the tests see on the console.
func await(find func() string) string {
	deadline := time.After(patience)
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		if found := find(); found != "" {
			return found
		}
		select {
		case <-ticker.C:
		case <-deadline:
			panic("a device did not come")
		}
	}
}

func findPort() string {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name") // the pattern is good
	for _, name := range names {
		if b, err := os.ReadFile(name); err == nil && strings.TrimSpace(string(b)) == portName {
			return filepath.Join("/dev", filepath.Base(filepath.Dir(name)))
		}
	}
	return ""
}

// serve ends when the host goes away.
func serve(device string) {
	port, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer port.Close()
	lines := bufio.NewReader(port)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			<-time.After(step) // reading fails at once while no host is connected
			return
		}
		fmt.Fprintln(port, obey(strings.Fields(line)))
	}
}

func obey(words []string) string {
	if len(words) == 0 {
		return ""
	}
	switch words[0] {
	case "echo":
		return words[1]
	case "disks":
		return strings.Join(disks(number(words[1])), " ")
	case "write":
		return write(words[1], number(words[2]))
	case "shout":
		return shout(number(words[1]) << 10)
	case "shout-kib":
		return shout(number(words[1]))
	case "shout-late":
		<-time.After(time.Duration(number(words[1])) * time.Second)
		return shout(1)
	case "ask":
		return ask(words[1], words[2], words[3])
	case "off":
		powerOff()
	case "reboot":
		return fmt.Sprint(unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART))
	case "crash":
		<-time.After(time.Duration(number(words[1])) * time.Second)
		return fmt.Sprint(os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0))
	}
	return "what? " + words[0]
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// disks returns serial numbers, once there are n: the kernel looks for new disks in its own time.
func disks(n int) []string {
	var found []string
	await(func() string {
		found = serials()
		if len(found) != n {
			return ""
		}
		return "enough"
	})
	return found
}

// serials come from the page of vital product data that has them.
func serials() []string {
	pages, _ := filepath.Glob("/sys/block/*/device/vpd_pg80") // the pattern is good
	serials := []string{}
	for _, page := range pages {
		if b, err := os.ReadFile(page); err == nil && len(b) > 4 {
			serials = append(serials, strings.TrimSpace(string(b[4:])))
		}
	}
	slices.Sort(serials)
	return serials
}

func write(serial string, mib int) string {
	pages, _ := filepath.Glob("/sys/block/*/device/vpd_pg80") // the pattern is good
	for _, page := range pages {
		b, err := os.ReadFile(page)
		if err != nil || !strings.HasSuffix(string(b), serial) {
			continue
		}
		device := filepath.Join("/dev", filepath.Base(filepath.Dir(filepath.Dir(page))))
		f, err := os.OpenFile(device, os.O_WRONLY|unix.O_SYNC, 0)
		if err != nil {
			return err.Error()
		}
		defer f.Close()
		for range mib {
			if _, err := f.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return err.Error()
			}
		}
		return "written"
	}
	return "no disk " + serial
}

func shout(kib int) string {
	line := []byte(strings.Repeat("=", 127) + "\n")
	for range kib << 10 / len(line) {
		if _, err := os.Stderr.Write(line); err != nil {
			return err.Error()
		}
	}
	fmt.Fprintln(os.Stderr, "testguest: hoarse")
	return "shouted"
}

func ask(cidr, gateway, server string) string {
	if err := configure(cidr, gateway); err != nil {
		return "configure eth0: " + err.Error()
	}
	conn, err := net.DialTimeout("tcp4", server, 20*time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	b, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func configure(cidr, gateway string) error {
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(cidr)
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.AddrReplace(link, addr), netlink.LinkSetUp(link)); err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gateway)})
}
