#!/usr/bin/env bash
# What convex relaxations of ReLU networks can express (Baader et al. 2024; Mao et al. 2026), in exact arithmetic: the table of
# function classes by relaxations, networks for max(x, y), max over [0,1]^d. Tables as CSV, plots as SVG.
# usage: expressivity.sh OUT_DIR [OPTIONS of build/release/benchmarks/expressivity, NET.onnx ..]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 1; }
out=$1
shift
mkdir -p "$out"
cmake --build "$root/build/release" --target expressivity >/dev/null
"$root/build/release/benchmarks/expressivity" "$out" "$@" | tee "$out/study.txt"
exit "${PIPESTATUS[0]}"
