#!/usr/bin/env bash
# Runs one small benchmark and looks at the form of what it prints: never at a time.
set -euo pipefail

bench=$1
json=$TEST_TMPDIR/bench.json

table=$("$bench" --quick --only=yield --json="$json")
echo "$table"
grep -q '^name  *value  *unit  *target' <<< "$table"
grep -Eq '^yield, 2 greenlets +[0-9.]+ ns +<= 5 ' <<< "$table"
grep -Eq '^yield, 1000 greenlets +[0-9.]+ ns +<= 20 ' <<< "$table"

python3 - "$json" << 'END'
import json, sys
run = json.load(open(sys.argv[1]))
assert run["quick"] is True and run["pairs"] == 7, run
assert [r["name"] for r in run["rows"]] == [
    "yield, 2 greenlets", "yield, 1000 greenlets"], run
for row in run["rows"]:
    assert set(row) == {"name", "value", "unit", "target", "met", "peer", "ratio",
                        "ratios", "note"}, row
    assert row["value"] > 0 and row["unit"] == "ns" and row["peer"] is None, row
    assert row["met"] in (True, False), row
END

# WebSocket beside raw TCP, with real servers.
table=$("$bench" --quick --only=websocket_100)
echo "$table"
grep -Eq '^WebSocket echo, 100 connections, CPU per message +[0-9.]+ us +.*1\.2' <<< "$table"

# A name that no benchmark has is an error, and the names are listed.
status=0
errors=$("$bench" --only=nosuch 2>&1) || status=$?
[[ $status == 2 ]]
grep -q 'spawn_join' <<< "$errors"
