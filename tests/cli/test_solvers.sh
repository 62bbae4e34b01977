#!/usr/bin/env bash
# Engines on solver back ends: what they refuse, and that time, signals and memory end them with an answer.
. "$EP_SOURCE/tests/cli/lib.sh"
abs_net
property holds.vnnlib -1 1 '>= Y_0 2.0001'
run verify abs.onnx holds.vnnlib --engine smt
case $err in *'this build has no z3'*) echo 'SKIPPED: built without Z3'; exit 77 ;; esac
run verify abs.onnx holds.vnnlib --engine lp
case $err in *'this build has no glpk'*) echo 'SKIPPED: built without GLPK'; exit 77 ;; esac

# Ties: the maximum of |x_0| + |x_1| is 2 exactly. Only exact arithmetic decides; the answer says on whose word.
property tight.vnnlib -1 1 '> Y_0 2'
property touch.vnnlib -1 1 '>= Y_0 2'
property tenths.vnnlib -0.3 0.3 '>= Y_0 0.6'
for engine in smt milp; do
  run verify abs.onnx tight.vnnlib --engine $engine --timeout 20
  expect_rc 20 "$engine: a tie that holds"; expect_out '^reason: proved by an exact solver'
  run verify abs.onnx touch.vnnlib --engine $engine --timeout 20
  expect_rc 10 "$engine: a tie that fails; replay needs no rounding to show it"; expect_first sat "$engine: touch"
  run verify abs.onnx tenths.vnnlib --engine $engine --timeout 20
  expect_rc 0 "$engine: a tie that fails, but which replay cannot show"; expect_first unknown "$engine: tenths"
done

# A box that is a single point, on the tie: decided by exact arithmetic, or left open, but at once.
property point.vnnlib 1 1 '> Y_0 2'
property on.vnnlib 1 1 '>= Y_0 2'
property tenth.vnnlib 0.3 0.3 '>= Y_0 0.6'
for engine in auto smt milp; do
  run verify abs.onnx point.vnnlib --engine $engine --timeout 600; expect_rc 20 "$engine: a point"
  expect_out '^reason: proved'
  run verify abs.onnx on.vnnlib --engine $engine --timeout 600; expect_rc 10 "$engine: a point on the edge"
  run verify abs.onnx tenth.vnnlib --engine $engine --timeout 600
  expect_rc 0 "$engine: a point that replay cannot show"; expect_first unknown "$engine: tenth"
done

sed 's/op_type: "Relu"/op_type: "Sigmoid"/' >sigmoid.txt <<'END'
ir_version: 7
opset_import { version: 13 }
graph {
  name: "s"
  node { input: "x" output: "y" op_type: "Relu" name: "squash" }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
}
END
encode <sigmoid.txt >sigmoid.onnx
cat >two.vnnlib <<'END'
(declare-const X_0 Real) (declare-const X_1 Real) (declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 0)) (assert (<= X_1 1))
(assert (>= Y_0 Y_1))
END
for engine in smt lp milp; do
  run verify sigmoid.onnx two.vnnlib --engine $engine
  expect_refusal 2 "'squash' \(Sigmoid\): no exact encoding"
done

hard_instance
for engine in smt milp lp; do
  run verify hard.onnx hard.vnnlib --engine $engine --timeout 1.5
  expect_rc 0 "$engine timeout"
  [ "$first" = timeout ] || [ "$engine $first" = 'lp unknown' ] || fail "$engine: $first instead of timeout"
  (trap - INT; exec "$EPSPROOF" verify hard.onnx hard.vnnlib --timeout 0 --engine $engine >stdout 2>stderr) &
  pid=$!
  sleep 0.7
  kill -INT $pid
  timeout 60 tail --pid=$pid -f /dev/null || { fail "$engine: SIGINT does not end it"; kill -KILL $pid; }
  wait $pid; rc=$?
  out=$(cat stdout) err=$(cat stderr) first=${out%%$'\n'*}
  expect_rc 0 "$engine interrupted"; expect_first unknown "$engine interrupted"
  run verify hard.onnx hard.vnnlib --engine $engine --timeout 3 --memory-limit 4
  expect_rc 0 "$engine memory limit"
  [ "$first" = unknown ] || [ "$first" = timeout ] || fail "$engine under a memory limit: $first"
done
finish
