#!/usr/bin/env bash
# Runs a Python test with the distribution's interpreter:
#   run_python.sh SCRIPT ARGS...
# Bazel's own py_test needs a toolchain that the distribution's Bazel has not got.
set -euo pipefail
script=$1
shift
exec /usr/bin/python3 -B "$script" "$@"
