#!/usr/bin/env bash
# Propagation tightness (Mao et al. 2024): without data against width, depth and the CNN series, and of linear autoencoders; then
# of networks trained with each method, over radii, widths and depths, beside natural and certified accuracy; and true tightness,
# where the complete verifier finds the exact range of margins. Tables as CSV, plots as SVG.
# usage: tightness.sh OUT_DIR [DATA [EPOCHS [EPSILON]]]   (fashion-mnist 4 0.1)
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
out=$1 data=${2:-fashion-mnist} epochs=${3:-4} epsilon=${4:-0.1}
mkdir -p "$out"
cmake --build "$root/build/release" --target bench_tightness true_tightness plot_csv epsproof >/dev/null
build=$root/build/release
program=$build/epsproof
plot() { "$build/benchmarks/plot_csv" "$@"; }
"$build/benchmarks/bench_tightness" "$out"
plot lines,logx,logy 'Tightness at the start against width' width 'two linear layers,closed form,ReLU 4 layers' "$out/width.csv" "$out/width.svg"
plot lines,logy 'Tightness at the start against depth, width 64' depth 'ReLU,linear' "$out/depth.csv" "$out/depth.svg"
plot lines,logy 'Tightness of the CNN series at the start' depth 'ReLU,linear,ReLU (authors),linear (authors)' "$out/cnn.csv" "$out/cnn.svg"
plot lines,logx 'Tightness of linear autoencoders' width 'plain tightness,radius 0.01 tightness,radius 0.1 tightness' \
  "$out/autoencoder.csv" "$out/autoencoder.svg"

# train NAME OPTIONS..: prints natural and interval-certified accuracy (a share) on the test set.
train() {
  local name=$1
  shift
  "$program" train "$out/$name.onnx" --data "$data" --epochs "$epochs" --ramp "0,$((epochs / 2))" --kappa 0.3 --rate 1e-3 -q --format json "$@" |
    sed 's/.*"test_natural": \([0-9.]*\), "test_certified_ibp_estimate": \([0-9.]*\),.*/\1,\2/'
}
local_tightness() {
  "$program" tightness "$out/$1.onnx" --data "$data" --count 500 --format json "${@:2}" | sed 's/.*"local": {"mean": \([^,]*\).*/\1/'
}

# Methods: tightness, accuracies in per cent on the first 100 images, and true tightness of a small dense network at a tenth of epsilon.
small=$(awk -v e="$epsilon" 'BEGIN { print e / 10 }')
echo 'method,tightness,natural,ibp,verified,true tightness,local tightness,margins,open' >"$out/training.csv"
while read -r name options; do
  # shellcheck disable=SC2086
  { train "$name" --arch cnn-tiny $options --epsilon "$epsilon"; train "dense_$name" --arch fc-tiny $options --epsilon "$epsilon"; } >/dev/null
  accuracy=$("$program" eval "$out/$name.onnx" --data "$data" --epsilon "$epsilon" --count 100 --engine alpha-crown --restarts 4 --steps 20 \
    --timeout 2 -q | sed -n 's/^\(natural\|certified: intervals\|certified: verified\) *\([0-9.]*\) %.*/\2/p' | paste -sd,)
  echo "$name,$(local_tightness "$name"),$accuracy,$("$build/benchmarks/true_tightness" "$out/dense_$name.onnx" "$data" "$small")" |
    tee -a "$out/training.csv"
done <<'END'
natural --method natural
pgd --method pgd
sabr_0.1 --method sabr --box-ratio 0.1
sabr_0.4 --method sabr --box-ratio 0.4
sabr_0.8 --method sabr --box-ratio 0.8
ibp --method ibp
END
plot points 'Tightness and certified accuracy (per cent, optimised slopes)' tightness verified "$out/training.csv" "$out/training.svg"

# Radii of training: IBP and PGD.
echo 'epsilon,ibp,pgd,ibp natural,pgd natural,ibp certified' >"$out/radius.csv"
for e in 0.0001 0.001 0.01 0.03 0.1; do
  i=$(train radius --arch fc-tiny --method ibp --epsilon $e) t=$(local_tightness radius)
  p=$(train radius --arch fc-tiny --method pgd --epsilon $e) u=$(local_tightness radius)
  echo "$e,$t,$u,${i%,*},${p%,*},${i#*,}" | tee -a "$out/radius.csv"
done
plot lines,logx,logy 'Tightness after training against the radius' epsilon 'ibp,pgd' "$out/radius.csv" "$out/radius.svg"

# Widths (three layers) and depths (width 64) under IBP and natural training.
shape() { # kind, networks
  echo "$1,ibp,natural,ibp natural,natural natural,ibp certified" >"$out/trained_$1.csv"
  for net in $2; do
    i=$(train shape --arch "$out/net_$net.onnx" --method ibp --epsilon "$epsilon") t=$(local_tightness shape)
    n=$(train shape --arch "$out/net_$net.onnx" --method natural) u=$(local_tightness shape)
    value=${net#w}
    if [ "$1" = width ]; then value=${value%_d*}; else value=${value#*_d}; fi
    echo "$value,$t,$u,${i%,*},${n%,*},${i#*,}" | tee -a "$out/trained_$1.csv"
  done
  plot lines,logy "Tightness after training against $1" "$1" 'ibp,natural' "$out/trained_$1.csv" "$out/trained_$1.svg"
}
shape width 'w16_d3 w32_d3 w64_d3 w128_d3'
shape depth 'w64_d2 w64_d3 w64_d4 w64_d5'
