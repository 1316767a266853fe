#!/usr/bin/env bash
# Runs every suite, prints the time of each, and fails when any fails. Everything must be built. One runs at a time: beside
# processes of another suite, the VMs of pods that ask for no processor get next to none of it (cpu.weight).
set -uo pipefail
cd "$(dirname "$0")/.."

summary=() failed=0
suite() {
	local name=$1 begin=$SECONDS
	shift
	echo "=== $name"
	if make --no-print-directory SUITE_NEEDS= "$@"; then result=ok; else result=FAILED failed=1; fi
	summary+=("$(printf '%-14s %-7s %5d s' "$name" "$result" $((SECONDS - begin)))")
}

suite unit test-unit
suite control-plane test-controlplane
suite fuzz test-fuzz
suite vsphere test-vsphere
suite qemu test-qemu
suite e2e test-e2e

echo "=== suites"
printf '%s\n' "${summary[@]}"
exit $failed
