#!/usr/bin/env bash
# Runs the tests that take long: those in files with the build tag long, and no others. Everything must be built.
# The arguments are packages (./test/e2e); without any it is all that have such files.
set -uo pipefail
cd "$(dirname "$0")/.."

files=$(grep -rl --include='*_test.go' -E '^//go:build (.*[ (!&|])?long\b' "${@:-.}" | sort)
packages=$(xargs -r -n1 dirname <<<"$files" | sort -u)
failed=0
for package in $packages; do
	mine=$(grep -E "^$package/[^/]*$" <<<"$files")
	tests=$(xargs sed -nE 's/^func (Test[A-Za-z0-9_]*)\(.*/\1/p' <<<"$mine" | paste -sd '|')
	echo "=== $package: $tests"
	go test -tags 'e2e qemu long' -timeout 180m -count=1 -v -run "^($tests)\$" "./${package#./}" || failed=1
done
exit $failed
