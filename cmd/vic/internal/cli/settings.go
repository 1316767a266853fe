package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

// nodeFlags are those of a QEMU node.
type nodeFlags struct {
	name       string
	capacity   capacityFlags
	accel      string
	guestImage string
	tracing    string
	logs       logFlags
	imageGC    imageGCFlags

	credentials credentialFlags
}

func (f *nodeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "node-name", defaultNodeName, "name of the node")
	f.capacity.add(cmd)
	cmd.Flags().StringVar(&f.accel, "accel", string(qemu.AccelAuto), "QEMU's accelerator: auto (by booting something), kvm or tcg")
	cmd.Flags().StringVar(&f.guestImage, "guest-image", "", "directory of vmlinuz and initrd.zst (default: guest/ beside the program)")
	cmd.Flags().StringVar(&f.tracing, "tracing-endpoint", "", "`HOST:PORT` or URL of a collector to send OpenTelemetry traces to, by OTLP over gRPC (default: OTEL_EXPORTER_OTLP_ENDPOINT, else none)")
	f.logs.add(cmd)
	f.imageGC.add(cmd)
	f.credentials.add(cmd)
}

func (f *nodeFlags) validate() error {
	if errs := validation.IsDNS1123Subdomain(f.name); len(errs) > 0 {
		return misused("--node-name %q: %s", f.name, strings.Join(errs, "; "))
	}
	if _, err := qemu.ParseAccel(f.accel); err != nil {
		return misused("--accel: %w", err)
	}
	if err := tracing.Validate(f.tracing); err != nil {
		return misused("--tracing-endpoint: %w", err)
	}
	return errors.Join(f.capacity.validate(), f.logs.validate(), f.imageGC.validate(), f.credentials.validate())
}

// files returns the files of the guest image.
func (f *nodeFlags) files() (qemu.GuestImage, error) {
	dir, err := f.imageDir()
	if err != nil {
		return qemu.GuestImage{}, err
	}
	image := qemu.GuestImage{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd.zst")}
	for _, path := range []string{image.Kernel, image.Initrd} {
		if _, err := os.Stat(path); err != nil {
			return qemu.GuestImage{}, fmt.Errorf("guest image (--guest-image; make guest-image builds it): %w", err)
		}
	}
	return image, nil
}

// kernelRelease is what the guest image's manifest says of its kernel; empty where there is no manifest.
func (f *nodeFlags) kernelRelease() string {
	dir, err := f.imageDir()
	if err != nil {
		return ""
	}
	var manifest struct {
		KernelRelease string `json:"kernelRelease"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || json.Unmarshal(text, &manifest) != nil {
		return ""
	}
	return manifest.KernelRelease
}

func (f *nodeFlags) imageDir() (string, error) {
	if f.guestImage != "" {
		return f.guestImage, nil
	}
	return besideProgram("guest")
}

// besideProgram returns the path of a file that the build leaves beside this program.
func besideProgram(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find %s beside this program: %w", name, err)
	}
	return filepath.Join(filepath.Dir(self), name), nil
}
