#!/usr/bin/env bash
# Fuzzes each PACKAGE:TARGET for TIME, one after the other, and fails when any fails.
# Usage: hack/fuzz.sh TIME PACKAGE:TARGET...
set -uo pipefail
cd "$(dirname "$0")/.."

time=$1 failed=0
shift
for target in "$@"; do
	echo "--- $target"
	${GO:-go} test -run '^$' -fuzz "^${target#*:}\$" -fuzztime "$time" -fuzzminimizetime 5s "${target%%:*}" || failed=1
done
exit $failed
