#!/usr/bin/env bash
# Training steps of cnn-small beside PyTorch's on the same machine in the same run (PyTorch only where python3-torch is
# installed: apt-get install python3-torch). usage: training_speed.sh [BATCH [THREADS]]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
batch=${1:-128} threads=${2:-$(nproc)}
cmake --build "$root/build/release" --target bench_training >/dev/null
for round in 1 2; do
  "$root/build/release/benchmarks/bench_training" cnn-small "$batch" "$threads"
  python3 -c 'import torch' 2>/dev/null && python3 "$root/benchmarks/training_pytorch.py" "$batch" "$threads"
done
