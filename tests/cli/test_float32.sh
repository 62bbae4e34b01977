#!/usr/bin/env bash
# Networks built to fool verifiers' arithmetic: huge constants that cancel, sums that depend on their order, overflow,
# subnormal numbers. Real semantics must be right about the real function, float32 semantics about every execution; the
# checker agrees with both.
. "$EP_SOURCE/tests/cli/lib.sh"

# net FILE LINES...: input x[1,N] and output y[1,M], the lines in between.
net() { # file n_in n_out body
  encode >"$1" <<END
ir_version: 7
opset_import { version: 13 }
graph {
  name: "t"
  $4
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: $2 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: $3 } } } } }
}
END
}
box() { # file n lo hi assertion
  for i in $(seq 0 $(($2 - 1))); do echo "(declare-const X_$i Real)"; done >"$1"
  echo "(declare-const Y_0 Real)" >>"$1"
  for i in $(seq 0 $(($2 - 1))); do echo "(assert (>= X_$i $3)) (assert (<= X_$i $4))"; done >>"$1"
  echo "(assert ($5))" >>"$1"
}
# ask NET PROP SEMANTICS EXPECTED...: one of the expected verdicts, or none, from every engine that can be asked, and the
# first of them from auto ("undecided": auto need not decide); what is unsat has a certificate that the checker accepts,
# under the same semantics.
ask() {
  for engine in ibp crown alpha-crown input-split bab auto $([ "$3" = real ] && echo lp milp); do
    rm -f cert
    run verify "$1" "$2" --semantics "$3" --engine "$engine" --timeout 0.4 --certificate cert
    case " ${*:4} unknown timeout " in *" $first "*) ;; *) fail "$1 $2 $3 $engine: '$first', expected ${*:4} $err" ;; esac
    [ "$engine" = auto ] && [ "$4" != undecided ] && [ "$first" != "$4" ] && fail "$1 $2 $3: auto says '$first', expected $4"
    [ "$first" = unsat ] || continue
    "$EPSPROOF_CHECK" "$1" "$2" cert >answer 2>&1
    [ "$(cat answer)" = "$(printf 'ACCEPTED\nsemantics: %s' "$3")" ] || fail "$1 $2 $3 $engine: $(cat answer)"
  done
}

# y = relu((x + w) - w): the identity on positive numbers, but float32 loses x in a large w.
backdoor() { # file w
  net "$1" 1 1 "
  node { input: \"x\" input: \"W\" output: \"a\" op_type: \"Add\" }
  node { input: \"a\" input: \"W\" output: \"b\" op_type: \"Sub\" }
  node { input: \"b\" output: \"y\" op_type: \"Relu\" name: \"act\" }
  initializer { name: \"W\" data_type: 1 dims: 1 float_data: $2 }"
}
backdoor small.onnx 1
backdoor large.onnx 16777216
box low.vnnlib 1 0.3 0.4 '<= Y_0 0.2'
box reached.vnnlib 1 0.3 0.4 '>= Y_0 0.35'
ask small.onnx low.vnnlib real unsat
ask small.onnx low.vnnlib float32 unsat
ask large.onnx low.vnnlib real unsat
ask large.onnx low.vnnlib float32 sat # an execution gives 0
ask large.onnx reached.vnnlib real sat
ask large.onnx reached.vnnlib float32 undecided sat
# Beyond double precision.
backdoor huge.onnx 1e30
ask huge.onnx reached.vnnlib real undecided sat
run verify huge.onnx low.vnnlib # 1e30 - 1e30 is summed exactly when the network is read; the checker does not sum constants
expect_first unsat 'huge.onnx low.vnnlib'
ask huge.onnx low.vnnlib float32 sat

# A sum that depends on its order: 2^24 x_0 + x_1 - 2^24 x_2 at 1, 1, 1.
net sum.onnx 3 1 '
  node { input: "x" input: "W" output: "y" op_type: "MatMul" }
  initializer { name: "W" data_type: 1 dims: 3 dims: 1 float_data: [16777216, 1, -16777216] }'
box one.vnnlib 3 1 1 '<= Y_0 0.5'
ask sum.onnx one.vnnlib real unsat
run verify sum.onnx one.vnnlib --semantics float32 --timeout 1
[ "$first" = unsat ] && fail 'sum.onnx: float32 unsat, though the order of summation decides'
box one_high.vnnlib 3 1 1 '>= Y_0 2.5'
ask sum.onnx one_high.vnnlib float32 undecided unsat # every order gives 0, 1 or 2

# Overflow on the way: finite in real arithmetic, infinite in float32.
net over.onnx 1 1 '
  node { input: "x" input: "A" output: "a" op_type: "MatMul" }
  node { input: "a" output: "r" op_type: "Relu" name: "act" }
  node { input: "r" input: "B" output: "y" op_type: "MatMul" }
  initializer { name: "A" data_type: 1 dims: 1 dims: 1 float_data: 1e30 }
  initializer { name: "B" data_type: 1 dims: 1 dims: 1 float_data: 1e-30 }'
box small.vnnlib 1 1 2 '>= Y_0 3'
box large.vnnlib 1 1e9 1e10 '>= Y_0 3e10'
ask over.onnx small.vnnlib real unsat
ask over.onnx small.vnnlib float32 unsat
ask over.onnx large.vnnlib real unsat
run verify over.onnx large.vnnlib --semantics float32 --timeout 1
[ "$first" = unsat ] && fail 'over.onnx: float32 unsat in spite of overflow'

# Subnormal products: 1e-30 * 1e-15 is 0 or a subnormal number in float32.
net under.onnx 1 1 '
  node { input: "x" input: "A" output: "a" op_type: "MatMul" }
  node { input: "a" input: "B" output: "y" op_type: "MatMul" }
  initializer { name: "A" data_type: 1 dims: 1 dims: 1 float_data: 1e-30 }
  initializer { name: "B" data_type: 1 dims: 1 dims: 1 float_data: 1e30 }'
box tiny.vnnlib 1 1e-15 2e-15 '<= Y_0 5e-16'
ask under.onnx tiny.vnnlib real unsat
run verify under.onnx tiny.vnnlib --semantics float32 --timeout 1
[ "$first" = unsat ] && fail 'under.onnx: float32 unsat in spite of underflow'

# Scales that differ by 60 orders of magnitude in one network: what one neuron loses to rounding is all that another has.
net scales.onnx 2 1 '
  node { input: "x" input: "A" output: "a" op_type: "MatMul" }
  node { input: "a" output: "r" op_type: "Relu" name: "act" }
  node { input: "r" input: "B" output: "y" op_type: "MatMul" }
  initializer { name: "A" data_type: 1 dims: 2 dims: 2 float_data: [1e30, 0, 0, 1e-30] }
  initializer { name: "B" data_type: 1 dims: 2 dims: 1 float_data: [1e-30, 1e30] }'
box above.vnnlib 2 -1 1 '>= Y_0 2.5'
box within.vnnlib 2 -1 1 '>= Y_0 1.9'
ask scales.onnx above.vnnlib real unsat
ask scales.onnx above.vnnlib float32 unsat
ask scales.onnx within.vnnlib real sat
# Weights that are subnormal numbers of float32, and a lopsided neuron: -1e30 below, next to nothing above.
net weights.onnx 1 1 '
  node { input: "x" input: "A" output: "a" op_type: "MatMul" }
  node { input: "a" output: "r" op_type: "Relu" name: "act" }
  node { input: "r" input: "B" output: "y" op_type: "MatMul" }
  initializer { name: "A" data_type: 1 dims: 1 dims: 1 float_data: 1e-42 }
  initializer { name: "B" data_type: 1 dims: 1 dims: 1 float_data: 1e38 }'
box twice.vnnlib 1 -1 1 '>= Y_0 2e-4'
box half.vnnlib 1 -1 1 '>= Y_0 5e-5'
ask weights.onnx twice.vnnlib real unsat
ask weights.onnx twice.vnnlib float32 undecided unsat
ask weights.onnx half.vnnlib real sat
net lopsided.onnx 1 1 '
  node { input: "x" input: "A" output: "a" op_type: "MatMul" }
  node { input: "a" output: "r" op_type: "Relu" name: "act" }
  node { input: "r" input: "B" output: "y" op_type: "MatMul" }
  initializer { name: "A" data_type: 1 dims: 1 dims: 1 float_data: 1e30 }
  initializer { name: "B" data_type: 1 dims: 1 dims: 1 float_data: 1 }'
sed 's/(<= X_0 1)/(<= X_0 1e-60)/; s/(assert (>= Y_0 2e-4))/(assert (>= Y_0 1.1e-30))/' twice.vnnlib >thin.vnnlib
sed 's/1.1e-30/0.9e-30/' thin.vnnlib >thin_reached.vnnlib
ask lopsided.onnx thin.vnnlib real undecided unsat # intervals keep a centre and a radius
ask lopsided.onnx thin_reached.vnnlib real undecided sat
# Two huge branches that cancel behind the ReLUs: y = relu(x + w) - relu(x + w - 1) is 1 for w > 2.
branches() { # file w w-1
  net "$1" 1 1 "
  node { input: \"x\" input: \"A\" input: \"c\" output: \"a\" op_type: \"Gemm\" }
  node { input: \"a\" output: \"r\" op_type: \"Relu\" name: \"act\" }
  node { input: \"r\" input: \"B\" output: \"y\" op_type: \"MatMul\" }
  initializer { name: \"A\" data_type: 1 dims: 1 dims: 2 float_data: [1, 1] }
  initializer { name: \"c\" data_type: 1 dims: 2 float_data: [$2, $3] }
  initializer { name: \"B\" data_type: 1 dims: 2 dims: 1 float_data: [1, -1] }"
}
branches branches.onnx 16777215 16777214
box wrong.vnnlib 1 -1 1 '<= Y_0 0.5'
box right.vnnlib 1 -1 1 '>= Y_0 0.5'
ask branches.onnx wrong.vnnlib real unsat
ask branches.onnx right.vnnlib real sat
ask branches.onnx wrong.vnnlib float32 undecided sat # 2^24 - 1 + x rounds to one of the neighbours

# Engines that reason about the real function alone say so.
for engine in $(sed -n 's/^EP_ENGINE([a-z_]*, "\([a-z-]*\)", [01], [01], [01], 0,.*/\1/p' "$EP_SOURCE/verifier/engines.def"); do
  run verify small.onnx low.vnnlib --semantics float32 --engine "$engine"
  expect_refusal 1 "'$engine' knows real semantics only"
done

# A proof about the real function is none about float32 runs.
run verify large.onnx low.vnnlib --engine crown --certificate cert
expect_first unsat 'large.onnx, crown'
gzip -dc <cert >plain
{ head -c 8 plain; printf '\1'; tail -c +10 plain; } >moved
"$EPSPROOF_CHECK" large.onnx low.vnnlib moved >answer 2>&1
grep -q '^REJECTED' answer || fail "a real certificate passes for float32: $(cat answer)"

# Refusals.
net sigmoid.onnx 1 1 'node { input: "x" output: "y" op_type: "Sigmoid" name: "s" }'
run verify sigmoid.onnx low.vnnlib --semantics float32
expect_refusal 2 "sigmoid.onnx: node 's' \(Sigmoid\): no float32 semantics"
net third.onnx 1 1 'node { input: "x" input: "W" output: "y" op_type: "Div" name: "d" }
  initializer { name: "W" data_type: 1 dims: 1 float_data: 3 }'
run verify third.onnx low.vnnlib --semantics float32
expect_refusal 2 "third.onnx: node 'd' \(Div\): no float32 semantics"
run verify small.onnx low.vnnlib --semantics float32 --engine forward
expect_refusal 1 "engine 'forward' knows real semantics only"
run eval small.onnx --data none --epsilon 0.1 --semantics float32
expect_refusal 1 "'eval' knows real semantics only"
run verify small.onnx low.vnnlib --semantics float16
expect_refusal 1 'semantics'
finish
