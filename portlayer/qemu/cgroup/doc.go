// Package cgroup gives each VM's QEMU a systemd unit or control groups of its own, which bound its memory and threads and weigh its
// processors. A group is named by VCH and VM, so that whoever adopts the process finds it again.
package cgroup
