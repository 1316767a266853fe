package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/testinitrd/vsphereguest/report"
)

const (
	blob = "/sys/firmware/qemu_fw_cfg/by_name/opt/vic/test/raw"
	// settle is how long devices may take to come once their drivers are there.
	settle   = 20 * time.Second
	patience = 60 * time.Second
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "vsphereguest:", err)
	}
	powerOff()
}

func run() error {
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m[1], err)
		}
	}
	broken, err := loadModules()
	if err != nil {
		return err
	}
	b, err := os.ReadFile(blob)
	if errors.Is(err, os.ErrNotExist) {
		return printReport(broken)
	}
	if err != nil {
		return err
	}
	var to report.Boot
	if err := json.Unmarshal(b, &to); err != nil {
		return fmt.Errorf("read %s: %w", blob, err)
	}
	return serve(to, string(b), broken)
}

func powerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) // there is nobody to report an error to
	select {}
}

func loadModules() (broken []string, err error) {
	list, err := os.ReadFile("/modules/load")
	if err != nil {
		return nil, err
	}
	for name := range strings.FieldsSeq(string(list)) {
		f, err := os.Open(filepath.Join("/modules", name))
		if err != nil {
			return nil, err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
			broken = append(broken, name+": "+err.Error())
		}
		_ = f.Close() // it was only read
	}
	return broken, nil
}

// printReport writes a report to the console, once the first disk, interface and CD have come or settle is over.
func printReport(broken []string) error {
	r := look("", broken)
	for began := time.Now(); len(r.Disks) == 0 || len(r.NICs) == 0 || len(r.CDs) == 0; r = look("", broken) {
		if time.Since(began) > settle {
			break
		}
		<-time.After(5 * time.Millisecond)
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "REPORT %s\n", line)
	return nil
}

func serve(to report.Boot, raw string, broken []string) error {
	if err := configure(to); err != nil {
		return fmt.Errorf("configure the network: %w", err)
	}
	conn, err := dial(to.Server)
	if err != nil {
		return err
	}
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		var answer any = "what?"
		switch {
		case len(words) == 1 && words[0] == "report":
			answer = look(raw, broken)
		case len(words) == 3 && words[0] == "write":
			answer = write(words[1], words[2])
		case len(words) == 1 && words[0] == "off":
			return nil
		case len(words) == 1 && words[0] == "reset":
			unix.Sync()
			return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		}
		if err := json.NewEncoder(conn).Encode(answer); err != nil {
			return err
		}
	}
	return fmt.Errorf("the server is gone: %w", lines.Err())
}

func configure(to report.Boot) error {
	var link netlink.Link
	for began := time.Now(); link == nil; {
		found, err := netlink.LinkByName("eth0")
		if err == nil {
			link = found
		} else if time.Since(began) > settle {
			return err
		}
		<-time.After(5 * time.Millisecond)
	}
	addr, err := netlink.ParseAddr(to.Address)
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.AddrReplace(link, addr), netlink.LinkSetUp(link)); err != nil {
		return err
	}
	return netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(to.Gateway)})
}

func dial(server string) (net.Conn, error) {
	began := time.Now()
	for {
		conn, err := net.DialTimeout("tcp4", server, patience)
		if err == nil || time.Since(began) > patience {
			return conn, err
		}
		<-time.After(50 * time.Millisecond)
	}
}

func write(target, text string) string {
	for _, d := range disks() {
		if strconv.Itoa(d.target) != target {
			continue
		}
		f, err := os.OpenFile(d.device, os.O_WRONLY|unix.O_SYNC, 0)
		if err != nil {
			return err.Error()
		}
		defer f.Close()
		if _, err := f.WriteString(text + "\x00"); err != nil {
			return err.Error()
		}
		return "written"
	}
	return "no disk " + target
}
