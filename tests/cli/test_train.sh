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

# What eval calls the validation part is what training held back: the same share of right answers, here far from 1.
run train v.onnx --data data --arch fc-tiny --batch 64 --rate 0.0004 --seed 3 --method natural --epochs 1 --validation 0.4 --log v.jsonl
expect_rc 0 'one short epoch'
told=$(sed -n 's/.*"valid_natural": \([0-9.]*\).*/\1/p' v.jsonl)
run eval v.onnx --data data --part validation --validation 0.4 --seed 3 --epsilon 0 --engine ibp --format json; expect_rc 0 'eval of the validation part'
expect_out '"samples": 256'
found=$(tr -d '\n' <stdout | sed -n 's/.*"result": *{[^}]*"natural": *{[^}]*"count": \([0-9]*\).*/\1/p')
awk -v t="$told" -v f="$found" 'BEGIN { exit !(t > 0.3 && t < 0.97 && f > 0 && (t - f / 256) ^ 2 < 1e-9) }' || fail "validation: training said $told, eval found $found of 256"

# Waits, without starting a process, for the progress line (or for the end, which fails the test).
mkfifo never; exec 9<>never
await_progress() { for _ in {1..4000}; do [ -s "$1" ] && break; read -rt 0.005 -u 9; done; }

# Ctrl-C inside an epoch: one line, the shell's exit code, the state on disk; going on gives the same bits and log again.
long() { run train "$1" --data data --arch fc-2x256 --batch 32 --rate 0.001 --seed 3 --method pgd --epsilon 0.05 --attack-steps 800 --epochs 2 "${@:2}"; }
long e.onnx --log e.jsonl --checkpoint e.ckpt
"$EPSPROOF" train f.onnx --data data --arch fc-2x256 --batch 32 --rate 0.001 --seed 3 --method pgd --epsilon 0.05 --attack-steps 800 --epochs 2 \
  --log f.jsonl --checkpoint f.ckpt -q --progress on >stdout 2>live1 &
victim=$!
await_progress live1
kill -INT $victim
wait $victim; rc=$? out=$(cat stdout); mv live1 stderr
expect_rc 130 'Ctrl-C'; [ -z "$out" ] || fail "interrupted, yet: $out"
expect_err 'interrupted in epoch [12] after [0-9]+ steps; the same command with --resume goes on from f.ckpt'
if [ ! -e f.ckpt ] || [ -e f.onnx ]; then fail 'interrupted: a checkpoint and no network expected'; fi
long f.onnx --log f.jsonl --checkpoint f.ckpt --resume; expect_rc 0 'resumed after Ctrl-C'; expect_err 'resumed after epoch'
cmp -s e.onnx f.onnx || fail 'interrupted and resumed, another network'
[ "$(sed 's/"seconds.*//' e.jsonl)" = "$(sed 's/"seconds.*//' f.jsonl)" ] || fail 'interrupted and resumed, another log'
"$EPSPROOF" train g.onnx --data data --arch fc-2x256 --batch 32 --method pgd --epsilon 0.05 --attack-steps 800 --epochs 50 -q --progress on >stdout 2>live2 &
victim=$!
await_progress live2
kill -TERM $victim
wait $victim; rc=$?; mv live2 stderr
expect_rc 143 'SIGTERM'; expect_err 'nothing is kept'

# No room on the disk (files of at most 4 KiB): one line, the old checkpoint and the old network stay as they were.
cp a.ckpt kept.ckpt; cp a.onnx kept.onnx
( trap '' XFSZ; ulimit -f 4; "$EPSPROOF" train a.onnx --data data --arch fc-tiny --batch 64 --rate 0.01 --seed 3 --method ibp --epsilon 0.05 --epochs 7 \
  --checkpoint a.ckpt -q >stdout 2>stderr </dev/null ); rc=$? out=$(cat stdout)
expect_refusal 2 'a.ckpt: cannot be saved: File too large'
cmp -s a.ckpt kept.ckpt || fail 'a save that failed changed the checkpoint'
( trap '' XFSZ; ulimit -f 4; "$EPSPROOF" train a.onnx --data data --arch fc-tiny --batch 64 --method natural --epochs 1 -q >stdout 2>stderr </dev/null ); rc=$? out=$(cat stdout)
expect_refusal 2 'a.onnx.*: File too large'
cmp -s a.onnx kept.onnx || fail 'a save that failed changed the network'
[ -z "$(ls ./*.new 2>/dev/null)" ] || fail "left behind: $(ls ./*.new)"

# From a file: its weights, another method.
run train d.onnx --data data --arch a.onnx --keep-weights --method pgd --epsilon 0.02 --epochs 1 --batch 64 --format json
expect_rc 0 'fine-tuning'; expect_out '"method": "pgd"'

# A binarised network: the clauses decide about it, both ways.
run train bnn.onnx --data data --arch bnn-tiny --method pgd --epsilon 0.05 --epochs 8 --batch 64 --rate 0.01 --seed 3; expect_rc 0 'binarised'
natural=$(sed -n 's/^natural: \([0-9]*\).*/\1/p' stdout)
[ "${natural:-0}" -ge 85 ] || fail "natural accuracy of a binarised network: $out"
ask() { run robust bnn.onnx --image data/train-images-idx3-ubyte --labels data/train-labels-idx1-ubyte --scale 255 --clip 0,1 --engine sat "$@"; }
ask --epsilon 0.004
if grep -q 'this build has no' stderr; then echo 'no PicoSAT: binarised networks are not decided'; else
  expect_rc 20 'a binarised network around an image'; expect_out 'proved by an exact solver'
  ask --epsilon 0.9; expect_rc 10 'a binarised network far from an image'
fi

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
gzip -c data/train-images-idx3-ubyte | head -c 2000 >bad/train-images-idx3-ubyte.gz; rm bad/train-images-idx3-ubyte
run train x.onnx --data bad --method natural; expect_refusal 2 'bad/train-images-idx3-ubyte.gz'
rm bad/train-images-idx3-ubyte.gz
cp data/train-images-idx3-ubyte bad/
{ octal_header 1 5; printf '\0\1\2\0\1'; } >bad/train-labels-idx1-ubyte
run train x.onnx --data bad --method natural; expect_refusal 2 '640 samples'
{ octal_header 1 640; put 640 labels 1 | tr '\002' '\014'; } >bad/train-labels-idx1-ubyte
cp data/t10k* bad/
run train x.onnx --data bad --arch a.onnx --method natural --batch 64; expect_refusal 2 'label 12'
run train x.onnx --data data --arch fc-tiny --batch 64 --method natural --optimiser sgd --rate 1000 --weight-decay 1000 --clip-norm 0 --epochs 5 -q; expect_refusal 2 'the loss or its gradient is not finite'
run train x.onnx --data fashion-mnist --arch a.onnx --method natural; [ "$rc" = 2 ] || fail "another size of images: exit code $rc"
expect_err 'samples have 784 values, the network takes 36|fashion-mnist is not installed'
mkdir -p png/train/a png/train/b
printf 'no picture' >png/train/a/1.png
run train x.onnx --data png --method natural; expect_refusal 2 'png/train/a/1.png'
run train nowhere/x.onnx --data data --arch fc-tiny --batch 64 --method natural --epochs 1; expect_refusal 2 'nowhere' # before any epoch
run train x.onnx --data data --arch fc-tiny --batch 64 --method natural --epochs 1 --checkpoint nowhere/c; expect_refusal 2 'nowhere/c'
ln -s elsewhere.onnx link.onnx # a rename would replace the link
run train link.onnx --data data --arch fc-tiny --batch 64 --method natural --epochs 1; expect_refusal 2 'not a plain file'
[ ! -e x.onnx ] || fail 'a refused run wrote a network'
finish
