#!/usr/bin/env bash
# docs/patch_coverage.md is what patch_coverage writes, as far as that does not depend on
# the libraries of this machine; and the tool tells covered from not covered.
#   patch_coverage_test.sh PATCH_COVERAGE PAGE SAMPLE
set -euo pipefail
tool=$1
page=$2
sample=$3

"$tool" --page > "$TEST_TMPDIR/page"
lines=$(wc -l < "$TEST_TMPDIR/page")
if ! diff -u <(head -n "$lines" "$page") "$TEST_TMPDIR/page"; then
  echo "docs/patch_coverage.md is out of date: its head says how to write it anew" >&2
  exit 1
fi

status=0
"$tool" "$sample" > "$TEST_TMPDIR/sample" || status=$?
cat "$TEST_TMPDIR/sample"
[[ $status == 1 ]]
grep -Eq '  patched: (.*, )?usleep(,|$)' "$TEST_TMPDIR/sample"
grep -Eq '  not covered: (.*, )?getpwnam(,|$)' "$TEST_TMPDIR/sample"

status=0
"$tool" "$page" 2> "$TEST_TMPDIR/error" || status=$?
[[ $status == 2 ]]
grep -q 'not a dynamically linked ELF file' "$TEST_TMPDIR/error"
