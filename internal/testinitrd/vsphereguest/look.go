package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/virtual-kubelet/vic/internal/testinitrd/vsphereguest/report"
)

// headBytes is how much of a disk a report has at most.
const headBytes = 64

// look reports what is there now.
func look(raw string, broken []string) report.Report {
	r := report.Report{Broken: broken, Boot: raw, BootID: text("/proc/sys/kernel/random/boot_id"), CPUs: runtime.NumCPU()}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		_, _ = fmt.Sscanf(string(b), "MemTotal: %d kB", &r.MemoryKiB)
	}
	for _, d := range disks() {
		sectors, _ := strconv.ParseInt(text(filepath.Join("/sys/block", filepath.Base(d.device), "size")), 10, 64)
		r.Disks = append(r.Disks, report.Disk{Driver: d.driver, Target: d.target, Bytes: sectors * 512, Head: head(d.device)})
	}
	links, _ := filepath.Glob("/sys/class/net/*/device/driver") // the pattern is good
	for _, l := range links {
		driver, _ := os.Readlink(l)
		mac := text(filepath.Join(filepath.Dir(filepath.Dir(l)), "address"))
		r.NICs = append(r.NICs, report.NIC{Driver: filepath.Base(driver), MAC: mac})
	}
	r.CDs, _ = filepath.Glob("/dev/sr*")
	return r
}

// scsiDisk is a disk as sysfs has it.
type scsiDisk struct {
	device, driver string
	target         int
}

func disks() []scsiDisk {
	var found []scsiDisk
	devices, _ := filepath.Glob("/sys/block/sd*/device") // the pattern is good
	for _, d := range devices {
		address, _ := os.Readlink(d)
		var host, channel, target, lun int
		if _, err := fmt.Sscanf(filepath.Base(address), "%d:%d:%d:%d", &host, &channel, &target, &lun); err != nil {
			continue
		}
		found = append(found, scsiDisk{
			device: filepath.Join("/dev", filepath.Base(filepath.Dir(d))), target: target,
			driver: text(fmt.Sprintf("/sys/class/scsi_host/host%d/proc_name", host)),
		})
	}
	return found
}

func text(path string) string {
	b, _ := os.ReadFile(path) // what can't be read is empty
	return strings.TrimSpace(string(b))
}

func head(device string) string {
	f, err := os.Open(device)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	b := make([]byte, headBytes)
	n, err := io.ReadFull(f, b)
	if err != nil {
		return err.Error()
	}
	before, _, _ := bytes.Cut(b[:n], []byte{0})
	return string(before)
}
