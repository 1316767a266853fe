#!/usr/bin/env bash
# Runs every suite, prints the time of each, and fails when any fails. Everything must be built. Two suites run at a time:
# end-to-end tests wait for most of their time, in which the others compute.
set -uo pipefail
cd "$(dirname "$0")/.."

results=$(mktemp -d)
beside= # the process group of the suites beside the end-to-end tests
end() {
	[ -z "$beside" ] || kill -- "-$beside" 2>/dev/null
	rm -rf "$results"
}
trap end EXIT
trap 'exit 130' INT TERM

suite() {
	local name=$1 begin=$SECONDS result=ok
	shift
	echo "=== $name"
	make --no-print-directory SUITE_NEEDS= "$@" || result=FAILED
	printf '%-14s %-7s %5d s\n' "$name" "$result" $((SECONDS - begin)) >>"$results/summary"
}

suite unit test-unit
set -m # what runs beside has a process group of its own, which ends as one
{
	suite control-plane test-controlplane
	suite fuzz test-fuzz
	suite vsphere test-vsphere
	suite qemu test-qemu
} >"$results/beside" 2>&1 &
beside=$!
set +m
suite e2e test-e2e
wait "$beside"
beside=
cat "$results/beside"

printf '=== suites: %d s\n' $SECONDS
cat "$results/summary"
! grep -q FAILED "$results/summary"
