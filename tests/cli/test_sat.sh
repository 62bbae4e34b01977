#!/usr/bin/env bash
# Binarised networks as clauses: verdicts against exact arithmetic, proof files, what is not binarised is refused.
. "$EP_SOURCE/tests/cli/lib.sh"
# y = majority-like: s = Sign(x - 1/2), h = Sign(+-s + 1/2), y = sums of h.
encode >bnn.onnx <<'END'
ir_version: 7
opset_import { version: 13 }
graph {
  name: "bnn"
  node { input: "x" input: "half" output: "c" op_type: "Sub" name: "shift" }
  node { input: "c" output: "s" op_type: "Sign" name: "in" }
  node { input: "s" input: "W1" input: "b1" output: "a" op_type: "Gemm" name: "hidden" }
  node { input: "a" output: "h" op_type: "Sign" name: "sign" }
  node { input: "h" input: "W2" output: "y" op_type: "MatMul" name: "out" }
  initializer { name: "half" data_type: 1 dims: 1 float_data: 0.5 }
  initializer { name: "W1" data_type: 1 dims: 3 dims: 3 float_data: [1, 1, -1, 1, -1, 1, 1, 1, 1] }
  initializer { name: "b1" data_type: 1 dims: 3 float_data: [0.5, 0.5, 0.5] }
  initializer { name: "W2" data_type: 1 dims: 3 dims: 2 float_data: [1, -1, 1, 1, 1, -1] }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 3 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
}
END
prop() { # file lo hi condition
  { for i in 0 1 2; do echo "(declare-const X_$i Real) (assert (>= X_$i $2)) (assert (<= X_$i $3))"; done
    echo '(declare-const Y_0 Real) (declare-const Y_1 Real)'; echo "(assert $4)"; } >"$1"
}
prop all3.vnnlib 0 1 '(>= Y_0 3)'
prop none.vnnlib 0 1 '(>= Y_0 4)'
prop low.vnnlib 0 0.25 '(>= Y_0 Y_1)'
prop mixed.vnnlib 0 1 '(or (and (>= Y_1 1) (<= Y_0 -1)) (>= Y_1 3))'
run verify bnn.onnx none.vnnlib --engine sat
case $err in *'this build has no'*) echo "SKIPPED: $err"; exit 77 ;; esac
case " $EP_HAS " in *' z3 '*) compared='all3 none low mixed' ;; *) compared='' ;; esac
for p in $compared; do
  run verify bnn.onnx $p.vnnlib --engine smt; truth="$rc $first"
  run verify bnn.onnx $p.vnnlib --engine sat; [ "$rc $first" = "$truth" ] || fail "$p: sat says $rc $first, smt $truth: $err"
done
run verify bnn.onnx none.vnnlib --engine sat --proof p; expect_rc 20 proof; expect_out 'proved by an exact solver'
head -n 5 p.cnf | grep -q '^p cnf' || fail "p.cnf: $(head -n 3 p.cnf)"
grep -q '^%RUPD32' p.rup || fail "p.rup: $(head -n 3 p.rup)"
if command -v picosat >/dev/null; then
  picosat -n p.cnf | grep -q '^s UNSAT' || fail 'picosat finds the clauses of a proof satisfiable'
  run encode bnn.onnx all3.vnnlib --to cnf -o e.cnf; expect_rc 0 cnf
  picosat -n e.cnf | grep -q '^s SAT' || fail 'picosat refutes the clauses of a counterexample'
fi
run encode bnn.onnx all3.vnnlib --to opb -o e.opb; expect_rc 0 opb; head -n 1 e.opb | grep -q '#variable=' || fail 'no OPB header'
run verify bnn.onnx none.vnnlib --engine sat --proof no/such/folder/p; expect_refusal 2 'cannot write'
abs_net
property p.vnnlib -1 1 '>= Y_0 3'
run verify abs.onnx p.vnnlib --engine sat; expect_refusal 2 "'relu' \(Relu\): not part of a binarised network"
run encode abs.onnx p.vnnlib --to cnf; expect_refusal 2 'not part of a binarised network'
sed 's/Y_0 3/Y_0 (* 1.0 X_0)/' none.vnnlib >reads.vnnlib
echo '(assert (<= Y_0 X_0))' >>reads.vnnlib
run verify bnn.onnx reads.vnnlib --engine sat; expect_refusal 2 'reads inputs'
finish
