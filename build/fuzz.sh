#!/usr/bin/env bash
# Fuzzes each PACKAGE:TARGET for TIME, JOBS (4) of them at once with one worker each, and fails when any fails.
# A target's result is shown when it ends, and all that it said only if it failed.
# Usage: build/fuzz.sh TIME PACKAGE:TARGET...
set -uo pipefail
cd "$(dirname "$0")/.."

fuzz() {
	local time=$1 target=$2 out
	if out=$(${GO:-go} test -run '^$' -fuzz "^${target#*:}\$" -fuzztime "$time" -fuzzminimizetime 10x -parallel 1 "${target%%:*}" 2>&1); then
		printf 'ok    %s: %s\n' "$target" "$(grep execs: <<<"$out" | tail -n 1)"
		return 0
	fi
	# Go also fails when its time is over amid a minimization. A find names the file of its input.
	if grep -q '^    context deadline exceeded$' <<<"$out" && ! grep -q 'Failing input' <<<"$out"; then
		printf 'ok    %s: %s (out of time)\n' "$target" "$(grep execs: <<<"$out" | tail -n 1)"
		return 0
	fi
	printf 'FAIL  %s\n%s\n' "$target" "$out"
	return 1
}
export -f fuzz

time=$1
shift
printf '%s\0' "$@" | xargs -0 -P "${JOBS:-4}" -I{} bash -c 'fuzz "$0" "$1"' "$time" {}
