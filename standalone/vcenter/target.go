package vcenter

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// TargetFile is the file that says how to connect to the vCenter that has its files in dir. It is there while it serves, and
// after it was killed.
func TargetFile(dir string) string { return filepath.Join(dir, "target.json") }

// targetFile is what TargetFile has.
type targetFile struct {
	Address      string `json:"address"`
	User         string `json:"user"`
	PasswordFile string `json:"passwordFile"`
	CAFile       string `json:"caFile"`
}

// writeTarget writes the files that a client needs; the one that names the others comes last.
func (v *Server) writeTarget(at *url.URL) error {
	secret, _ := at.User.Password()
	to := vsphere.Target{
		Address: at.Host, User: at.User.Username(),
		PasswordFile: filepath.Join(v.config.Dir, "vcenter-password"), CAFile: filepath.Join(v.config.Dir, "vcenter-ca.pem"),
	}
	v.target = to
	text, err := json.MarshalIndent(targetFile{to.Address, to.User, to.PasswordFile, to.CAFile}, "", "  ")
	if err != nil {
		return err
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.server.Certificate().Raw})
	err = errors.Join(durable.Write(to.PasswordFile, []byte(secret+"\n"), 0o600), durable.Write(to.CAFile, ca, 0o600))
	if err != nil {
		return err
	}
	return durable.Write(TargetFile(v.config.Dir), append(text, '\n'), 0o600)
}

// Target is how to connect.
func (v *Server) Target() vsphere.Target { return v.target }

// ReadTarget reads TargetFile; the error is os.ErrNotExist where there is none.
func ReadTarget(dir string) (vsphere.Target, error) {
	b, err := os.ReadFile(TargetFile(dir))
	if err != nil {
		return vsphere.Target{}, fmt.Errorf("find simulated vCenter: %w", err)
	}
	var t targetFile
	if err := json.Unmarshal(b, &t); err != nil {
		return vsphere.Target{}, fmt.Errorf("find simulated vCenter: %s: %w", TargetFile(dir), err)
	}
	return vsphere.Target{Address: t.Address, User: t.User, PasswordFile: t.PasswordFile, CAFile: t.CAFile}, nil
}

// Processes are the QEMUs on this machine by the UUIDs that they were given, which for simulated VMs are their instance
// UUIDs.
func Processes() (map[string]int, error) {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	processes := map[string]int{}
	for _, line := range lines {
		b, err := os.ReadFile(line)
		if err != nil {
			continue // it has ended
		}
		_, after, ok := strings.Cut(string(b), "\x00-uuid\x00")
		if !ok {
			continue
		}
		uuid, _, _ := strings.Cut(after, "\x00")
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(line))); err == nil {
			processes[uuid] = pid
		}
	}
	return processes, nil
}
