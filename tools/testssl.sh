#!/usr/bin/env bash
# Lets testssl.sh look at examples/tls_echo_server, and prints its verdicts. Takes a minute or
# two, so CI does not run it. Versions before 3.1 give no grade.
#
#   tools/testssl.sh [FILE]      FILE: where the whole report goes, as text
#
# The certificate is made for the occasion by an authority that testssl is told to trust.
set -euo pipefail
cd "$(dirname "$0")/.."

report=${1:-/dev/null}
dir=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server"; rm -rf "$dir"' EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
  -subj "/CN=grove test root" -keyout "$dir/root.key" -out "$dir/root.pem" 2> "$dir/log"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" \
  -keyout "$dir/key.pem" -out "$dir/request.pem" 2>> "$dir/log"
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' \
  > "$dir/extensions"
openssl x509 -req -in "$dir/request.pem" -CA "$dir/root.pem" -CAkey "$dir/root.key" \
  -CAcreateserial -days 30 -extfile "$dir/extensions" -out "$dir/leaf.pem" 2>> "$dir/log"
cat "$dir/leaf.pem" "$dir/root.pem" > "$dir/chain.pem"

./tools/bazel build --config=opt //examples:tls_echo_server
touch "$dir/out"
bazel-bin/examples/tls_echo_server --port=0 --chain="$dir/chain.pem" --key="$dir/key.pem" \
  > "$dir/out" 2> "$dir/err" &
server=$!
until grep -q listening "$dir/out"; do
  kill -0 "$server" || { cat "$dir/err"; exit 1; }
  sleep 0.1
done
port=$(sed -n 's/.*:\([0-9]*\)$/\1/p' "$dir/out")

testssl --quiet --color 0 --warnings batch --ip one --add-ca "$dir/root.pem" \
  --connect-timeout 5 --openssl-timeout 5 "localhost:$port" 2>&1 | tee "$report" |
  grep -E 'NOT ok|VULNERABLE|vulnerable|offered|Trust|Chain of|Rating|Grade' || true
