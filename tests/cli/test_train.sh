#!/usr/bin/env bash
# Training from the command line: a small data set, a network that verify reads, resuming after SIGKILL, bad input.
. "$EP_SOURCE/tests/cli/lib.sh"
# 640 images of 6 x 6 in 3 classes: the third of the rows that is bright names the class.
mkdir data
octal_header() { # type, count, dims...
  printf '\0\0\010'; printf "\\$(printf %o "$1")"; shift
  for n in "$@"; do printf "\\$(printf %o $((n >> 24)))\\$(printf %o $((n >> 16 & 255)))\\$(printf %o $((n >> 8 & 255)))\\$(printf %o $((n & 255)))"; done
}
body() { LC_ALL=C awk -v n="$1" -v what="$2" -v seed="$3" 'BEGIN { srand(seed); for (i = 0; i < n; i++) { c = i % 3
  if (what == "labels") printf "\\%o", c; else for (k = 0; k < 36; k++) printf "\\%o", int(100 * rand()) + (int(k / 12) == c ? 120 : 20) } }'; }
put() { printf "$(body "$@")"; }
{ octal_header 3 640 6 6; put 640 images 1; } >data/train-images-idx3-ubyte
{ octal_header 1 640; put 640 labels 1; } >data/train-labels-idx1-ubyte
{ octal_header 3 96 6 6; put 96 images 2; } | gzip >data/t10k-images-idx3-ubyte.gz
{ octal_header 1 96; put 96 labels 2; } >data/t10k-labels-idx1-ubyte
train() { run train "$@" --data data --arch fc-tiny --batch 64 --rate 0.01 --seed 3; }

train a.onnx --method ibp --epsilon 0.05 --epochs 6 --log a.jsonl --checkpoint a.ckpt
expect_rc 0 train; expect_out '^method: ibp'; expect_out '^test samples: 96'
natural=$(sed -n 's/^natural: \([0-9]*\).*/\1/p' stdout)
[ "${natural:-0}" -ge 90 ] || fail "natural accuracy: $out"
[ "$(wc -l <a.jsonl)" = 6 ] || fail "log of $(wc -l <a.jsonl) lines"
run inspect a.onnx; expect_rc 0 'inspect reads the network'
run robust a.onnx --image data/train-images-idx3-ubyte --labels data/train-labels-idx1-ubyte --scale 255 --clip 0,1 --epsilon 0.01
expect_rc 20 'a certified image'

# The same bits again with other threads, and after being killed in the middle.
train b.onnx --method ibp --epsilon 0.05 --epochs 6 --threads 1
cmp -s a.onnx b.onnx || fail 'other threads, other network'
"$EPSPROOF" train c.onnx --data data --arch fc-tiny --batch 64 --rate 0.01 --seed 3 --method ibp --epsilon 0.05 --epochs 6 \
  --log c.jsonl --checkpoint c.ckpt >/dev/null 2>&1 &
victim=$!
for _ in $(seq 500); do [ -e c.ckpt ] && break; sleep 0.005; done
kill -9 $victim 2>/dev/null
wait $victim 2>/dev/null
train c.onnx --method ibp --epsilon 0.05 --epochs 6 --log c.jsonl --checkpoint c.ckpt --resume; expect_rc 0 resume
cmp -s a.onnx c.onnx || fail 'killed and resumed, another network'
[ "$(sed 's/"seconds.*//' a.jsonl)" = "$(sed 's/"seconds.*//' c.jsonl)" ] || fail 'killed and resumed, another log'

# From a file: its weights, another method.
run train d.onnx --data data --arch a.onnx --keep-weights --method pgd --epsilon 0.02 --epochs 1 --batch 64 --format json
expect_rc 0 'fine-tuning'; expect_out '"method": "pgd"'

# Refusals.
train x.onnx --method nonsense --epsilon 0.1; expect_refusal 1 'unknown .nonsense'
train x.onnx --method ibp; expect_refusal 1 'epsilon'
run train x.onnx --data data --arch nonsense --method natural; expect_refusal 1 'neither an architecture'
run train x.onnx --data data --arch fc-tiny --method natural --keep-weights; expect_refusal 1 'keep-weights'
run train x.onnx --data nowhere --method natural; expect_refusal 2 'nowhere'
train x.onnx --method natural --resume; expect_refusal 1 'checkpoint'
train x.onnx --method ibp --epsilon 0.05 --epochs 6 --checkpoint a.ckpt --resume --momentum 0.5; expect_refusal 1 'other options'
run train x.onnx --data data --arch fc-tiny --batch 48 --method natural; expect_refusal 1 'multiple of 32'
mkdir bad
head -c 5000 data/train-images-idx3-ubyte >bad/train-images-idx3-ubyte
cp data/train-labels-idx1-ubyte bad/
run train x.onnx --data bad --method natural; expect_refusal 2 'truncated IDX'
cp data/train-images-idx3-ubyte bad/
{ octal_header 1 5; printf '\0\1\2\0\1'; } >bad/train-labels-idx1-ubyte
run train x.onnx --data bad --method natural; expect_refusal 2 '640 samples'
{ octal_header 1 640; put 640 labels 1 | tr '\002' '\014'; } >bad/train-labels-idx1-ubyte
cp data/t10k* bad/
run train x.onnx --data bad --arch a.onnx --method natural --batch 64; expect_refusal 2 'label 12'
run train nowhere/x.onnx --data data --arch fc-tiny --batch 64 --method natural --epochs 1 -q; expect_refusal 2 'nowhere'
ln -s elsewhere.onnx link.onnx # a rename would replace the link
run train link.onnx --data data --arch fc-tiny --batch 64 --method natural --epochs 1 -q; expect_refusal 2 'not a plain file'
[ ! -e x.onnx ] || fail 'a refused run wrote a network'
finish
