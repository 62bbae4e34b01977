#!/usr/bin/env bash
# How far attacks are from the truth: the minimal linf distance to another class, enclosed by bisection over robustness queries
# (one end proved, the other replayed), beside what minimal attacks find. One CSV line per sample that is classified rightly.
# usage: attack_gap.sh [NET IMAGES LABELS [COUNT [STEPS [TIMEOUT]]]]   (the shipped natural network, 10 samples, 8 steps, 10 s)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
fashion=$root/examples/fashion
net=${1:-$fashion/natural.onnx} images=${2:-$fashion/images.idx} labels=${3:-$fashion/labels.idx}
count=${4:-10} steps=${5:-8} timeout=${6:-10}
program=$root/build/release/epsproof
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for method in deepfool fgsm; do
  "$program" attack "$net" --data "$images" --labels "$labels" --count "$count" --method $method --records "$work/$method.csv" >/dev/null
done
echo 'index,proved_below,refuted_at,deepfool,fgsm,deepfool_over_refuted,fgsm_over_refuted'
tail -n +2 "$work/deepfool.csv" | while IFS=, read -r index label predicted found fooled l0 l1 l2 linf rest; do
  [ "$label" = "$predicted" ] && [ "$found" = 1 ] || continue
  fgsm=$(awk -F, -v i="$index" '$1 == i && $4 == 1 { print $9 }' "$work/fgsm.csv")
  lo=0 hi=$linf from='' to='' # from..to: radii that the time limit left open
  for _ in $(seq "$steps"); do
    at=$(awk -v a="$lo" -v b="$hi" -v f="${from:-none}" -v t="$to" 'BEGIN {
      x = f == "none" ? (a + b) / 2 : f - a > b - t ? (a + f) / 2 : (t + b) / 2; printf "%.9f", x }')
    verdict=$("$program" robust "$net" --image "$images" --index "$index" --label "$label" --scale 255 --clip 0,1 --epsilon "$at" \
      --timeout "$timeout" | head -n 1) || true
    case $verdict in
    unsat) lo=$at ;;
    sat) hi=$at ;;
    *) if [ -z "$from" ]; then from=$at to=$at; elif awk -v x="$at" -v f="$from" 'BEGIN { exit !(x < f) }'; then from=$at; else to=$at; fi ;;
    esac
    if [ -n "$from" ] && awk -v l="$lo" -v h="$hi" -v f="$from" -v t="$to" 'BEGIN { exit !(l >= f || h <= t) }'; then from='' to=''; fi
  done
  awk -v i="$index" -v lo="$lo" -v hi="$hi" -v d="$linf" -v f="${fgsm:-nan}" \
    'BEGIN { printf "%d,%.6f,%.6f,%.6f,%.6f,%.3f,%.3f\n", i, lo, hi, d, f, d / hi, f / hi }'
done
