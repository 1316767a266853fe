#!/usr/bin/env bash
# Runs every suite, prints the time of each, and fails when any fails. Everything must be built. The suites without VMs run
# side by side. Those with VMs run alone: beside the processes of another suite, the VMs of pods that ask for no processor get
# next to none of it (cpu.weight).
set -uo pipefail
cd "$(dirname "$0")/.."

summary=() failed=0 beginning=$SECONDS
run() { make --no-print-directory SUITE_NEEDS= "$1"; }

# note NAME SECONDS STATUS keeps how a suite ended.
note() {
	local result=ok
	[ "$3" -eq 0 ] || result=FAILED failed=1
	summary+=("$(printf '%-14s %-7s %5d s' "$1" "$result" "$2")")
}

suite() {
	local begin=$SECONDS
	echo "=== $1"
	run "$2"
	note "$1" $((SECONDS - begin)) $?
}

output=$(mktemp) && trap 'rm -f "$output"' EXIT
run test-unit >"$output" 2>&1 &
unit=$!
suite control-plane test-controlplane
suite vsphere test-vsphere
wait "$unit"
status=$?
echo "=== unit"
cat "$output"
note unit $((SECONDS - beginning)) "$status"
suite qemu test-qemu
suite e2e test-e2e

echo "=== suites"
printf '%s\n' "${summary[@]}"
printf '%-14s         %5d s\n' all $((SECONDS - beginning))
exit $failed
