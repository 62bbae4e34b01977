# Sourced by the tests: a scratch folder, small networks and properties, and checks that say what went wrong.
set -u
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
n_failed=0
fail() { echo "FAILED: $*" >&2; n_failed=$((n_failed + 1)); }
finish() { [ "$n_failed" = 0 ] && echo "all as expected"; exit $((n_failed > 0)); }

encode() { "$EP_PROTOC" --encode=onnx.ModelProto -I"$EP_PROTO_DIR" onnx/onnx.proto; }

# run ARGS...: the program, with $out, $err, $rc and $first (line of standard output).
run() {
  "$EPSPROOF" "$@" >stdout 2>stderr </dev/null
  rc=$?
  out=$(cat stdout) err=$(cat stderr)
  first=${out%%$'\n'*}
}
expect_rc() { [ "$rc" = "$1" ] || fail "exit code $rc, expected $1 ($2): ${err:-no message}"; }
expect_first() { [ "$first" = "$1" ] || fail "first line '$first', expected '$1' ($2)"; }
expect_err() { grep -qE -- "$1" stderr || fail "standard error lacks '$1': '$err'"; }
expect_out() { grep -qE -- "$1" stdout || fail "standard output lacks '$1': '$out'"; }
# A refused input: exit code, one clear line that starts with the program's name, nothing on standard output.
expect_refusal() { # exit code, pattern
  expect_rc "$1" "$2"
  expect_err "$2"
  [ "$(wc -l <stderr)" = 1 ] || fail "more than one line of complaint: $err"
  grep -q '^epsproof: ' stderr || fail "complaint without the program's name: $err"
  [ -z "$out" ] || fail "a refusal printed on standard output: $out"
}

# abs.onnx: y = |x_0| + |x_1| as a ReLU network.
abs_net() {
  encode >abs.onnx <<'END'
ir_version: 7
opset_import { version: 13 }
graph {
  name: "abs"
  node { input: "x" input: "W1" output: "h" op_type: "MatMul" name: "first" }
  node { input: "h" output: "r" op_type: "Relu" name: "relu" }
  node { input: "r" input: "W2" output: "y" op_type: "MatMul" name: "second" }
  initializer { name: "W1" data_type: 1 dims: 2 dims: 4 float_data: [1, -1, 0, 0, 0, 0, 1, -1] }
  initializer { name: "W2" data_type: 1 dims: 4 dims: 1 float_data: [1, 1, 1, 1] }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 1 } } } } }
}
END
}

# property FILE LO HI COMPARISON: both inputs in [LO,HI], unsafe when (COMPARISON) holds of Y_0, e.g. ">= Y_0 3".
property() {
  cat >"$1" <<END
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(assert (>= X_0 $2))
(assert (<= X_0 $3))
(assert (>= X_1 $2))
(assert (<= X_1 $3))
(assert ($4))
END
}

# hard.onnx and hard.vnnlib: a wide random network and a threshold that neither attack nor bounds settle in seconds.
hard_instance() {
  awk -v n_in=24 -v width=96 -v depth=4 'BEGIN {
    srand(7); n[0] = n_in; for (k = 1; k < depth; k++) n[k] = width; n[depth] = 1
    print "ir_version: 7 opset_import { version: 13 } graph { name: \"hard\""
    for (k = 1; k <= depth; k++) {
      printf "node { input: \"%s\" input: \"W%d\" output: \"%s\" op_type: \"MatMul\" name: \"m%d\" }\n", (k == 1 ? "x" : "r" k - 1), k, (k == depth ? "y" : "h" k), k
      if (k < depth) printf "node { input: \"h%d\" output: \"r%d\" op_type: \"Relu\" name: \"relu%d\" }\n", k, k, k
      printf "initializer { name: \"W%d\" data_type: 1 dims: %d dims: %d\n", k, n[k - 1], n[k]
      s = sqrt(6 / n[k - 1])
      for (i = 0; i < n[k - 1] * n[k]; i++) printf "float_data: %.6f\n", s * (2 * rand() - 1)
      print "}"
    }
    printf "input { name: \"x\" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: %d } } } } }\n", n_in
    print "output { name: \"y\" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 1 } } } } } }"
  }' | encode >hard.onnx
  {
    for i in $(seq 0 23); do echo "(declare-const X_$i Real)"; done
    echo "(declare-const Y_0 Real)"
    for i in $(seq 0 23); do echo "(assert (>= X_$i -1)) (assert (<= X_$i 1))"; done
    echo "(assert (>= Y_0 ${1:-60}))"
  } >hard.vnnlib
}
