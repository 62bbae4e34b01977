#!/usr/bin/env bash
# Command dlv: what it prints, that it never contradicts the exact answer beside it, and what it refuses.
. "$EP_SOURCE/tests/cli/lib.sh"
net=$EP_SOURCE/examples/onnx/centres.onnx
echo '0.1,0.2' >near.csv
run dlv "$net" --image near.csv --epsilon 0.01 --features 2 --manipulations 3 --timeout 3
expect_rc 0 near; expect_out '^layer 0 .*49 grid points, 49 inputs run'; expect_out '^exact \(bab'; expect_out '^safe radius'
for eps in 0.05 0.2 0.5 1 2; do
  run dlv "$net" --image near.csv --epsilon $eps --features 2 --manipulations 4 --timeout 3
  expect_rc 0 "radius $eps"
  case "$first $(grep '^exact' stdout)" in
    'safe on the grid exact'*|'no example found exact'*) ;;
    'counterexample exact'*': counterexample'*) n_found=$((${n_found:-0} + 1)) ;;
    *) fail "radius $eps: $out" ;;
  esac
done
[ "${n_found:-0}" -gt 0 ] || fail 'no radius has a counterexample'
# The radius separates: nothing below it, a counterexample at the upper end.
read -r low high < <(sed -n 's/^safe radius.*at least \([0-9.e-]*\), below \([0-9.e-]*\)$/\1 \2/p' stdout)
[ -n "${high:-}" ] || fail "no safe radius: $out"
run robust "$net" --image near.csv --epsilon "$high"; expect_rc 10 'at the upper end of the safe radius'
run robust "$net" --image near.csv --epsilon "$low"; expect_rc 20 'at the lower end of the safe radius'
run robust "$net" --image near.csv --epsilon 2 --engine dlv; expect_rc 10 'engine dlv'
# One feature: by its value the second input (0.2 lies as far from the mean as 0.1, ties go to the first), by gradient
# the one that moves the margin most.
run dlv "$net" --image near.csv --epsilon 0.01 --features 1 --layers 0 --feature-by value --timeout 3
expect_out '^features: 0,'
run dlv "$net" --image near.csv --epsilon 0.01 --features 1 --layers 0 --feature-by gradient --timeout 3
expect_out '^features: [01],'
run dlv "$net" --image near.csv --epsilon 1 --feature-by nosuch; expect_refusal 1 'feature-by'
# Deeper layers tell what was settled; where the clip holds the whole range, the radius ends there.
run dlv "$net" --image near.csv --epsilon 0.001 --clip 0.09,0.21 --features 2 --layers 2 --timeout 5
expect_out '^layer 1 .*cells'; expect_out '^safe radius .*the whole valid range'
run dlv "$net" --image near.csv; expect_refusal 1 'epsilon'
run dlv "$net" --image near.csv --epsilon 1 --semantics float32; expect_refusal 1 'only knows --semantics real'
run dlv "$net" --epsilon 1; expect_refusal 1 '--image'
run dlv "$net" --image near.csv --epsilon 1 --format json; expect_refusal 1 'text only'
run dlv "$net" --image near.csv --epsilon 1 --features 0; expect_refusal 1 'features'
run dlv "$net" --image near.csv --epsilon 1 --clip 0,1 --features 2 --picture cex.png --timeout 3; expect_rc 0 picture
[ "$(head -c 4 cex.png | tail -c 3)" = PNG ] || fail "no picture of: $out"
run dlv "$net" --image near.csv --epsilon 2 --features 2 --picture out.png --timeout 3
[ "$rc" = 1 ] && grep -q 'pictures need' stderr && [ ! -e out.png ] || fail "a picture out of range: $rc $err"
finish
