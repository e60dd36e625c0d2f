#!/bin/bash
# Builds each fuzz target (*_fuzz) with clang and libFuzzer, and runs it for some time.
#
#   tools/fuzz.sh [SECONDS [TARGET...]]
#
# 60 seconds each by default, all targets by default ("//net:dns_message_fuzz"). What is
# new in it goes to a directory under /tmp, which is named; a crash ends it with an error
# and leaves the input there: put it into the target's corpus, beside the sources.
set -euo pipefail

cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
bazel=./tools/bazel
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  mapfile -t targets < <($bazel query 'filter("_fuzz$", kind(cc_binary, //...))' 2>/dev/null)
fi
if [ ${#targets[@]} -eq 0 ]; then
  echo "fuzz.sh: there is no fuzz target" >&2
  exit 1
fi

found=$(mktemp -d /tmp/grove_fuzz.XXXXXX)
$bazel build --config=fuzz "${targets[@]}"
bin=$($bazel info --config=fuzz bazel-bin 2>/dev/null)
failed=()
for target in "${targets[@]}"; do
  package=${target#//}
  package=${package%:*}
  name=${target#*:}
  new=$found/$name
  mkdir "$new"
  echo "== $target: $seconds s; new inputs go to $new"
  "$bin/$package/$name" -max_total_time="$seconds" -max_len=4096 -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$new/" \
    "$new" "$package/fuzz/${name%_fuzz}_corpus" 2>&1 | tail -15 || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "fuzz.sh: failed: ${failed[*]}" >&2
  exit 1
fi
