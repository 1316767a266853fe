#!/usr/bin/env bash
# Checks that this machine can build and run vic. As root it installs missing Debian packages and says so;
# otherwise it prints the one line to run and stops.
set -euo pipefail
cd "$(dirname "$0")/.."

want_go=$(awk '$1 == "go" { print $2 }' go.mod)
if ! command -v go >/dev/null; then
	echo "setup: go is not in PATH; vic needs Go $want_go or later (https://go.dev/dl)" >&2
	exit 1
fi
have_go=$(go env GOVERSION | sed 's/^go//; s/ .*//')
if [ "$(printf '%s\n%s\n' "$want_go" "$have_go" | sort -V | head -n 1)" != "$want_go" ]; then
	echo "setup: Go $have_go is too old; vic needs Go $want_go or later (https://go.dev/dl)" >&2
	exit 1
fi

# A command or file, and the Debian package that brings it.
needs=(
	"cmd:qemu-system-x86_64 qemu-system-x86"
	"cmd:qemu-img qemu-utils"
	"cmd:busybox busybox-static"
	"cmd:depmod kmod"
	"cmd:zstd zstd"
	"cmd:cpio cpio"
	"cmd:xz xz-utils"
	"cmd:dpkg-deb dpkg"
	"cmd:xorriso xorriso"
	"cmd:mcopy mtools"
	"file:/usr/share/ovmf/OVMF.fd ovmf"
	"cmd:gcc gcc"
	"file:/usr/include/stdlib.h libc6-dev"
	"cmd:mke2fs e2fsprogs"
	"cmd:ip iproute2"
	"cmd:unshare util-linux"
	"file:/usr/lib/systemd/systemd systemd"
	"cmd:nft nftables"
	"cmd:git git"
	"file:/etc/ssl/certs/ca-certificates.crt ca-certificates"
)
missing=()
for need in "${needs[@]}"; do
	what=${need%% *} package=${need##* }
	case $what in
	cmd:*) PATH=$PATH:/usr/sbin:/sbin command -v "${what#cmd:}" >/dev/null || missing+=("$package") ;;
	file:*) [ -e "${what#file:}" ] || missing+=("$package") ;;
	esac
done
# busybox must be the static one: it goes into an image without a C library.
if command -v busybox >/dev/null && [[ " ${missing[*]} " != *" busybox-static "* ]] &&
	! dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null | grep -qx installed; then
	missing+=(busybox-static)
fi

if [ ${#missing[@]} -gt 0 ] && ! command -v apt-get >/dev/null; then
	echo "setup: missing: ${missing[*]} (names of Debian packages; there is no apt-get here)" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	[ ${#missing[@]} -gt 0 ] || exit 0
	echo "setup: packages are missing; run this, then try again:" >&2
	echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

# The guest image is made of packages that apt's lists must know; old lists name packages that mirrors have dropped.
if [ ${#missing[@]} -gt 0 ] || [ ! -e bin/guest/manifest.json ]; then
	apt-get update -qq || echo "setup: apt's lists could not be refreshed; going on with those that are here" >&2
fi
if [ ${#missing[@]} -gt 0 ]; then
	echo "setup: installing ${missing[*]}"
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
