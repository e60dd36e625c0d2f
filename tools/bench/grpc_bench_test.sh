#!/usr/bin/env bash
# As bench_test.sh, of the row whose servers are gRPC's.
set -euo pipefail

table=$("$1" --quick --only=grpc_unary)
echo "$table"
grep -Eq '^gRPC, unary, 100 in flight, CPU per call +[0-9.]+ us +ratio <= 1.1 ' <<< "$table"
