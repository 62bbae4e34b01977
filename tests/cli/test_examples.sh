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

mkdir again
"$EP_BUILD/examples/make_examples" again || fail 'the generator fails'
for kind in onnx vnnlib; do diff -r "again/$kind" "$examples/$kind" >&2 || fail "examples/$kind is not what the generator writes"; done
"$EP_BUILD/examples/make_examples" no/such/folder 2>stderr && fail 'the generator wrote into no folder'
expect_err '^make_examples: no/such/folder'
finish
