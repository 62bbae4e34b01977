#!/usr/bin/env bash
# Propagation tightness (Mao et al. 2024): at initialisation against width and depth, then after training one small network with
# each method, beside natural and certified accuracy. usage: tightness.sh OUT_DIR [DATA [EPOCHS [EPSILON]]]
# (fashion-mnist 6 0.1; tables as CSV, plots as SVG)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
out=$1 data=${2:-fashion-mnist} epochs=${3:-6} epsilon=${4:-0.1}
mkdir -p "$out"
cmake --build "$root/build/release" --target bench_tightness epsproof >/dev/null
"$root/build/release/benchmarks/bench_tightness" "$out"
program=$root/build/release/epsproof
echo 'method,tightness,natural,ibp,verified' >"$out/training.csv"
for method in natural pgd 'sabr --box-ratio 0.1' 'sabr --box-ratio 0.4' ibp; do
  name=$(tr -d ' -' <<<"$method")
  # shellcheck disable=SC2086
  "$program" train "$out/$name.onnx" --data "$data" --arch cnn-tiny --method $method --epsilon "$epsilon" --epochs "$epochs" \
    --ramp "0,$((epochs / 2))" --kappa 0.3 --rate 1e-3 -q >/dev/null
  tight=$("$program" tightness "$out/$name.onnx" --data "$data" --count 500 --format json | sed 's/.*"local": {"mean": \([^,]*\).*/\1/')
  accuracy=$("$program" eval "$out/$name.onnx" --data "$data" --epsilon "$epsilon" --count 100 --engine alpha-crown --restarts 4 --steps 20 \
    --timeout 2 -q | sed -n 's/^\(natural\|certified: intervals\|certified: verified\) *\([0-9.]*\) %.*/\2/p' | paste -sd,)
  echo "$method,$tight,$accuracy" | tee -a "$out/training.csv"
done
