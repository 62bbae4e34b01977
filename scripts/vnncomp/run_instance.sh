#!/usr/bin/env bash
# VNN-COMP: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTFILE TIMEOUT. Writes sat (and the counterexample), unsat,
# unknown, timeout or error to RESULTFILE.
set -u
[ "${1-}" = v1 ] || { echo "run_instance.sh: expected version v1, got '${1-}'" >&2; exit 1; }
[ $# -eq 6 ] || { echo "usage: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTFILE TIMEOUT" >&2; exit 1; }
root=$(cd "$(dirname "$0")/../.." && pwd)
program=${EPSPROOF:-$root/build/release/epsproof}
"$program" verify "$3" "$4" --timeout "$6" --format vnncomp --output "$5"
case $? in
  0|10|20) exit 0 ;;
  *) [ -s "$5" ] || echo error >"$5"; exit 1 ;;
esac
