#!/usr/bin/env bash
# --relaxation: bounds by every relaxation of the registry, joint hulls in lp and milp, exported relaxations.
. "$EP_SOURCE/tests/cli/lib.sh"
ex=$EP_SOURCE/examples
net=$ex/onnx/residual.onnx prop=$ex/vnnlib/residual_norm.vnnlib
run verify "$net" "$prop" --engine lp
case $err in *'this build has no'*) echo "SKIPPED: $err"; exit 77 ;; esac
width() { sed -n "s/^$1, box 0: mean width \([0-9.]*\),.*/\1/p" stdout; }

# bound: all five, in the order of the registry, none looser than intervals; the joint hull knows the range (+-1.546875).
run bound "$net" "$prop" --method relaxations; expect_rc 0 'all relaxations'
[ "$(grep -c 'mean width' stdout)" = 5 ] || fail "not five relaxations: $out"
ibp=$(width ibp) triangle=$(width triangle) joint=$(width multi-neuron)
awk "BEGIN { exit !($joint < $triangle && $triangle < $ibp && $joint == 3.09375) }" || fail "widths $ibp $triangle $joint"
run bound "$net" "$prop" --relaxation triangle; expect_rc 0 'one relaxation'; expect_out '^triangle, box 0'
[ "$(width triangle)" = "$triangle" ] || fail "--relaxation and --method differ: $out"
for k in 2 3; do
  run bound "$net" "$prop" --relaxation multi-neuron --joint $k; expect_rc 0 "joint hulls of $k"
  awk "BEGIN { exit !($(width multi-neuron) <= $triangle) }" || fail "joint hulls of $k are looser: $out"
done
run bound "$net" "$prop" --method multi-neuron --format json; expect_rc 0 json; expect_out '"method": "multi-neuron"'

# lp: what triangles leave open joint hulls prove, with certified arithmetic; a reachable set stays unproved.
run verify "$net" "$prop" --engine lp; expect_first unknown 'triangles are too loose'
run verify "$net" "$prop" --engine lp --relaxation multi-neuron; expect_rc 20 'joint hulls'; expect_out '^reason: proved$'
run verify "$net" "$prop" --engine lp --relaxation multi-neuron --obbt 0; expect_rc 20 'joint hulls without programs for bounds'
run verify "$net" "$ex/vnnlib/residual_reach.vnnlib" --engine lp --relaxation multi-neuron; expect_first unknown 'reachable'
run verify "$net" "$ex/vnnlib/residual_reach.vnnlib" --engine milp --relaxation multi-neuron; expect_rc 10 'reachable, by search'
run verify "$net" "$prop" --engine milp --relaxation multi-neuron; expect_rc 20 milp
while IFS=, read -r onnx vnnlib _; do # every example: never a wrong answer
  run verify "$ex/$onnx" "$ex/$vnnlib" --engine lp --relaxation multi-neuron --timeout 20
  grep -q ",$vnnlib,[0-9]*,$first," "$ex/truth.csv" || [ "$first" = unknown ] || fail "$vnnlib: $first"
done <"$ex/instances.csv"

# encode (one disjunct: no choice at all is left): infeasible with joint hulls, feasible (as a relaxation) without; no binaries, no disjunctions.
{ grep -v 'assert (or' "$prop"; echo '(assert (>= Y_0 1.55))'; } >one.vnnlib
if command -v glpsol >/dev/null; then
  for to in lp mps; do
    flag=--lp; [ $to = mps ] && flag=--freemps
    run encode "$net" one.vnnlib --to $to --relaxation multi-neuron --output m.$to; expect_rc 0 "encode $to"
    glpsol $flag m.$to | grep -q 'NO PRIMAL FEASIBLE' || fail "joint hulls as $to are feasible"
    run encode "$net" one.vnnlib --to $to --relaxation triangle --output t.$to; expect_rc 0 "encode $to"
    glpsol $flag t.$to | grep -q 'OPTIMAL LP SOLUTION' || fail "triangles as $to are infeasible"
  done
  grep -q '^ b[0-9]*$' t.lp && fail 'a relaxation has binaries'
fi
run encode "$net" one.vnnlib --to smt2 --relaxation triangle; expect_rc 0 smt2; expect_out 'a relaxation'
grep -q '(assert (or' stdout && fail 'a relaxation has disjunctions'

# Wrong use.
run verify "$net" "$prop" --relaxation triangle; expect_refusal 1 "the engine 'auto' has none"
run verify "$net" "$prop" --engine lp --relaxation ibp; expect_refusal 1 'no linear program'
run verify "$net" "$prop" --engine lp --relaxation nosuch; expect_refusal 1 'not one of triangle, multi-neuron'
run verify "$net" "$prop" --engine lp --relaxation multi-neuron --certificate c; expect_refusal 1 '--certificate'
run verify "$net" "$prop" --engine lp --relaxation multi-neuron --joint 4; expect_refusal 1 '--joint'
run bound "$net" "$prop" --relaxation nosuch; expect_refusal 1 'help relaxations'
run bound "$net" "$prop" --relaxation triangle --method crown; expect_refusal 1 'either'
run encode "$net" "$prop" --to cnf --relaxation triangle; expect_refusal 1 'no linear relaxation'
sigmoid_net() { abs_net; "$EP_PROTOC" --decode=onnx.ModelProto -I"$EP_PROTO_DIR" onnx/onnx.proto <abs.onnx | sed 's/"Relu"/"Sigmoid"/' | encode >sig.onnx; }
sigmoid_net; property s.vnnlib -1 1 '>= Y_0 5'
run bound sig.onnx s.vnnlib --relaxation multi-neuron; expect_refusal 2 'Sigmoid'
run help relaxations; expect_rc 0 help; [ "$(grep -c '^  ' stdout)" = 5 ] || fail "help: $out"
finish
