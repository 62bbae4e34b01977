#!/usr/bin/env bash
# Exported encodings: z3 and glpsol give the verdicts that the networks in examples/ are known to have; what cannot be
# encoded is refused, and no half-written file stays behind.
. "$EP_SOURCE/tests/cli/lib.sh"
abs_net
property fails.vnnlib -1 1 '>= Y_0 1.5'
run encode abs.onnx fails.vnnlib --to smt2; expect_rc 0 'to standard output'; expect_out '^\(check-sat\)$'; expect_out 'X_0'
run encode abs.onnx fails.vnnlib --to lp -o abs.lp; expect_rc 0 lp; grep -q '^End$' abs.lp || fail 'abs.lp is cut short'
run encode abs.onnx fails.vnnlib --to mps --output abs.mps; expect_rc 0 mps; grep -q '^ENDATA$' abs.mps || fail 'abs.mps is cut short'
run encode abs.onnx fails.vnnlib --to word; expect_refusal 1 "smt2"
run encode abs.onnx fails.vnnlib --format json; expect_refusal 1 'no --format'
run encode abs.onnx fails.vnnlib -o no/such/folder/x; expect_refusal 2 'cannot write'
run encode abs.onnx fails.vnnlib -o /dev/full; expect_refusal 2 'cannot write'
[ -c /dev/full ] || fail 'a device was removed'
run encode abs.onnx fails.vnnlib -o; expect_refusal 1 'needs a value'
run encode abs.onnx fails.vnnlib -o late.smt2 --timeout 1e-9; expect_refusal 2 'time limit'
[ ! -e late.smt2 ] || fail 'a file although time ran out'
sed 's/Relu/Sigmoid/' >sig.txt <<'END'
ir_version: 7
opset_import { version: 13 }
graph { name: "s" node { input: "x" output: "y" op_type: "Relu" name: "squash" }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } } }
END
encode <sig.txt >sig.onnx
printf '(declare-const %s Real)\n' X_0 X_1 Y_0 Y_1 >sig.vnnlib
echo '(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1)) (assert (>= Y_0 Y_1))' >>sig.vnnlib
run encode sig.onnx sig.vnnlib -o sig.smt2; expect_refusal 2 'Sigmoid'; [ ! -e sig.smt2 ] || fail 'a file for Sigmoid'

# Several boxes, one of them empty: their union.
cat >boxes.vnnlib <<'END'
(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real)
(assert (or (and (>= X_0 0) (<= X_0 0.25) (>= X_1 0) (<= X_1 0.25) (>= Y_0 0.75))
            (and (>= X_0 1) (<= X_0 0.5) (>= X_1 0) (<= X_1 1) (>= Y_0 0))
            (and (>= X_0 -2) (<= X_0 -1) (>= X_1 0) (<= X_1 1) (>= Y_0 RHS))))
END
sed 's/RHS/2.5/' boxes.vnnlib >boxes_sat.vnnlib
sed 's/RHS/3.5/' boxes.vnnlib >boxes_unsat.vnnlib
property empty.vnnlib 1 -1 '>= Y_0 0'

glpsol_says() { # option file
  glpsol "$@" --tmlim 60 >glpsol.out 2>&1
  if grep -qE 'NO (PRIMAL|INTEGER) FEASIBLE' glpsol.out; then echo unsat
  elif grep -qE 'OPTIMAL (LP )?SOLUTION FOUND' glpsol.out; then echo sat
  else echo "? $(tail -n 3 glpsol.out)"; fi
}
has_z3=$(command -v z3) has_glpsol=$(command -v glpsol)
[ -n "$has_z3" ] || echo 'z3 is missing, its files are not solved (apt-get install z3)'
[ -n "$has_glpsol" ] || echo 'glpsol is missing, its files are not solved (apt-get install glpk-utils)'
solve() { # network property verdict
  if [ -n "$has_z3" ]; then
    run encode "$1" "$2" --to smt2 -o e.smt2; expect_rc 0 "$2 to smt2"
    got=$(z3 -T:60 e.smt2); [ "$got" = "$3" ] || fail "$2: z3 says '$got', expected $3"
  fi
  [ -n "$has_glpsol" ] || return 0
  run encode "$1" "$2" --to lp -o e.lp; expect_rc 0 "$2 to lp"
  got=$(glpsol_says --lp e.lp); [ "$got" = "$3" ] || fail "$2: glpsol says '$got' on LP, expected $3"
  run encode "$1" "$2" --to mps -o e.mps; expect_rc 0 "$2 to mps"
  got=$(glpsol_says --freemps e.mps); [ "$got" = "$3" ] || fail "$2: glpsol says '$got' on MPS, expected $3"
}
solve abs.onnx boxes_sat.vnnlib sat
solve abs.onnx boxes_unsat.vnnlib unsat
solve abs.onnx empty.vnnlib unsat
n=0
while IFS=, read -r _ net prop _ truth _; do
  case $truth in sat|unsat) ;; *) continue ;; esac
  solve "$EP_SOURCE/examples/$net" "$EP_SOURCE/examples/$prop" "$truth"
  n=$((n + 1))
done <"$EP_SOURCE/examples/truth.csv"
[ "$n" -ge 10 ] || fail "only $n examples solved"
finish
