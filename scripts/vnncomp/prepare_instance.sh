#!/usr/bin/env bash
# VNN-COMP: prepare_instance.sh v1 CATEGORY ONNX VNNLIB. Exit 0: the instance can be run; 1: it is to be skipped.
# Nothing is converted beforehand: the files must be readable and the program built. (A run ends itself at its timeout, so
# there are no leftovers of an earlier instance to end.)
set -u
[ "${1-}" = v1 ] || { echo "prepare_instance.sh: expected version v1, got '${1-}'" >&2; exit 1; }
[ $# -eq 4 ] || { echo "usage: prepare_instance.sh v1 CATEGORY ONNX VNNLIB" >&2; exit 1; }
root=$(cd "$(dirname "$0")/../.." && pwd)
program=${EPSPROOF:-$root/build/release/epsproof}
[ -x "$program" ] || { echo "prepare_instance.sh: $program is not built (run install_tool.sh v1)" >&2; exit 1; }
for f in "$3" "$4"; do
  [ -r "$f" ] || { echo "prepare_instance.sh: $f: cannot read" >&2; exit 1; }
done
exit 0
