#!/usr/bin/env bash
# The shipped examples: each verdict is the known one, both lists name the same instances, and the generator still writes
# the files that are in the repository.
. "$EP_SOURCE/tests/cli/lib.sh"
examples=$EP_SOURCE/examples
n=0
while IFS=, read -r benchmark onnx vnnlib timeout truth _; do
  [ "$benchmark" = benchmark ] && continue
  n=$((n + 1))
  grep -qxF "$onnx,$vnnlib,$timeout" "$examples/instances.csv" || fail "$onnx,$vnnlib,$timeout is not in instances.csv"
  run verify "$examples/$onnx" "$examples/$vnnlib" --timeout "$timeout"
  expect_first "$truth" "$onnx $vnnlib"
done <"$examples/truth.csv"
[ "$n" -ge 10 ] && [ "$n" = "$(grep -c . "$examples/instances.csv")" ] || fail "$n truths, $(grep -c . "$examples/instances.csv") instances"

# The trained networks: an image that is proved for one, refuted for the other, with a picture of what refutes it.
fashion=$examples/fashion
ask() { run robust "$fashion/$1.onnx" --image "$fashion/images.idx" --labels "$fashion/labels.idx" --index 1 --scale 255 --clip 0,1 \
  --epsilon 0.1 --timeout 120 --picture cex.png; }
ask ibp; expect_first unsat 'ibp.onnx, image 1'
[ ! -e cex.png ] || fail 'a picture of nothing'
ask natural; expect_first sat 'natural.onnx, image 1'
[ "$(head -c 4 cex.png | tail -c 3)" = PNG ] || fail 'no picture of the counterexample'
run verify "$examples/onnx/xor.onnx" "$examples/vnnlib/xor_can_pass_0.9.vnnlib" --picture xor.png; expect_first sat xor
[ "$(head -c 4 xor.png | tail -c 3)" = PNG ] || fail 'no picture of a property'
run attack "$examples/onnx/xor.onnx" "$examples/vnnlib/xor_can_pass_0.9.vnnlib" --out pictures; expect_refusal 1 '--picture'
[ "$(cat "$fashion"/*.onnx | wc -c)" -le 1000000 ] || fail 'the trained networks take more than 1 MB together'
for net in "$fashion"/*.onnx; do [ "$(wc -c <"$net")" -le 200000 ] || fail "$net is larger than 200 KB"; done

mkdir again
"$EP_BUILD/examples/make_examples" again || fail 'the generator fails'
for kind in onnx vnnlib; do diff -r "again/$kind" "$examples/$kind" >&2 || fail "examples/$kind is not what the generator writes"; done
"$EP_BUILD/examples/make_examples" no/such/folder 2>stderr && fail 'the generator wrote into no folder'
expect_err '^make_examples: no/such/folder'
finish
