package crun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/volume"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// prepare mounts the container's root and writes its config.json.
func (r *Runtime) prepare(ctx context.Context, a supervisor.Attempt) (*bundle, error) {
	b := &bundle{dir: filepath.Join(r.c.Run, a.Container.Name)}
	b.rootfs, b.message = filepath.Join(b.dir, "rootfs"), filepath.Join(b.dir, "message")
	b.layer = filepath.Join(r.c.Layers, a.Container.Name, a.ID)
	if err := r.mountRoot(ctx, a.Container, b); err != nil {
		return nil, err
	}
	var err error
	if b.joined, err = r.joins(ctx, a.Container); err == nil {
		err = r.describe(a, b)
	}
	if err != nil {
		return nil, errors.Join(err, b.remove())
	}
	return b, nil
}

// mountRoot puts an empty writable layer over the image's disks, and removes the layer of the attempt before.
func (r *Runtime) mountRoot(ctx context.Context, c wire.Container, b *bundle) error {
	var lower []string
	for _, serial := range c.Disks {
		dir, err := r.c.Images.Mount(ctx, serial)
		if err != nil {
			return err
		}
		lower = append(lower, dir)
	}
	if err := os.RemoveAll(filepath.Dir(b.layer)); err != nil {
		return fmt.Errorf("remove the former layer: %w", err)
	}
	upper, work := filepath.Join(b.layer, "upper"), filepath.Join(b.layer, "work")
	for _, dir := range []string{b.rootfs, upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil { // what is in them is the container's
			return err
		}
	}
	if err := likeImage(lower[0], upper); err != nil { // the uppermost is named first
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,index=off,metacopy=off", strings.Join(lower, ":"), upper, work)
	if err := unix.Mount("overlay", b.rootfs, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	return nil
}

func (r *Runtime) describe(a supervisor.Attempt, b *bundle) error {
	c := a.Container
	user, err := oci.LookUpUser(b.rootfs, c.User)
	if err != nil {
		return err
	}
	groups := c.Security.Groups
	if r.c.FSGroup != nil {
		groups = append(slices.Clip(groups), *r.c.FSGroup)
	}
	if b.user, err = oci.WithGroups(user, c.Security.OnlyGroups, groups...); err != nil {
		return err
	}
	binds, err := r.binds(c, b)
	if err != nil {
		return err
	}
	inVolume := slices.ContainsFunc(c.Mounts, func(m wire.Mount) bool { return below(c.WorkingDir, m.Path) })
	if c.WorkingDir != "" && !inVolume {
		if err := volume.MkdirAll(b.rootfs, c.WorkingDir); err != nil {
			return fmt.Errorf("make working directory: %w", err)
		}
	}
	return r.writeConfig(c, b, binds)
}

func (r *Runtime) writeConfig(c wire.Container, b *bundle, binds []oci.Bind) error {
	var devices []specs.LinuxDevice
	if c.Security.Privileged {
		var err error
		if devices, err = oci.Devices("/dev"); err != nil {
			return err
		}
	}
	volumes, onlyRead, err := r.volumeDevices(c)
	if err != nil {
		return err
	}
	spec, err := oci.Spec(oci.Config{
		Container: c, User: b.user, Rootfs: b.rootfs, CgroupPath: r.cgroup(c.Name), Hostname: r.c.Hostname,
		PIDNamespace: namespace(b.joined), Devices: devices, Binds: binds, Volumes: volumes, OnlyRead: onlyRead,
	})
	if err != nil {
		return err
	}
	config, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.dir, "config.json"), config, 0o600)
}

// volumeDevices are the container's volumes that are devices, and the paths of those that are only read.
func (r *Runtime) volumeDevices(c wire.Container) (devices []specs.LinuxDevice, onlyRead map[string]bool, err error) {
	onlyRead = map[string]bool{}
	for _, d := range c.Devices {
		if !filepath.IsAbs(d.Path) {
			return nil, nil, fmt.Errorf("device path %q is %w", d.Path, volume.ErrInvalid)
		}
		path, readOnly, err := r.c.Volumes.Device(d.Volume)
		if err != nil {
			return nil, nil, err
		}
		device, err := oci.Device(path, d.Path)
		if err != nil {
			return nil, nil, err
		}
		devices, onlyRead[d.Path] = append(devices, device), readOnly
	}
	return devices, onlyRead, nil
}

// binds are the container's volumes, its file for the termination message, and the pod's files.
func (r *Runtime) binds(c wire.Container, b *bundle) ([]oci.Bind, error) {
	var binds []oci.Bind
	taken := func(target string) bool {
		return slices.ContainsFunc(binds, func(b oci.Bind) bool { return filepath.Clean(b.Target) == filepath.Clean(target) })
	}
	for _, m := range c.Mounts {
		if !filepath.IsAbs(m.Path) {
			return nil, fmt.Errorf("mount path %q is %w", m.Path, volume.ErrInvalid)
		}
		source, err := r.c.Volumes.Source(m)
		if err != nil {
			return nil, err
		}
		binds = append(binds, oci.Bind{Source: source, Target: m.Path, ReadOnly: m.ReadOnly, Options: m.Options})
	}
	for _, bind := range r.c.Binds {
		if !taken(bind.Target) {
			binds = append(binds, bind)
		}
	}
	if c.TerminationMessagePath == "" || taken(c.TerminationMessagePath) {
		return binds, nil
	}
	if err := writeMessageFile(b.message); err != nil {
		return nil, err
	}
	return append(binds, oci.Bind{Source: b.message, Target: c.TerminationMessagePath}), nil
}

// below reports whether p is dir or in it.
func below(p, dir string) bool {
	rel, err := filepath.Rel(filepath.Clean(dir), filepath.Clean("/"+p))
	return err == nil && filepath.IsLocal(rel)
}

// remove unmounts the container's root. Its layer is removed before the next attempt.
func (b *bundle) remove() error {
	if err := unix.Unmount(b.rootfs, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount root: %w", err)
	}
	return nil
}
