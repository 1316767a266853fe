#!/bin/sh
# Runs a systemd of its own in the namespaces that unshare made for it: file systems, processes, control groups. Of this
# machine's units it sees none: starting them would touch the machine. $1 is a directory of unit files.
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /run
for dir in /etc/systemd/system /usr/lib/systemd/system /usr/lib/systemd/system-generators; do
	mkdir -p "$dir"
	mount -t tmpfs tmpfs "$dir"
done
cp "$1"/* /etc/systemd/system/
# What every unit depends on, with nothing in it.
for target in default sysinit basic shutdown network-online multi-user; do
	printf '[Unit]\nDefaultDependencies=no\n' >"/etc/systemd/system/$target.target"
done
# Control groups below those that we are in.
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
	umount -R /sys/fs/cgroup
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
	umount -R /sys/fs/cgroup
	mount -t tmpfs tmpfs /sys/fs/cgroup
	for controller in memory cpu name=systemd; do
		mkdir "/sys/fs/cgroup/${controller#name=}"
		case $controller in name=*) options=none,$controller ;; *) options=$controller ;; esac
		mount -t cgroup -o "$options" cgroup "/sys/fs/cgroup/${controller#name=}"
	done
fi
export container=test
exec /usr/lib/systemd/systemd --system --log-target=console --show-status=no
