#!/usr/bin/env bash
# Verdicts, exit codes and witnesses on y = |x_0| + |x_1| over [-1,1]^2, whose maximum is 2.
. "$EP_SOURCE/tests/cli/lib.sh"
abs_net
gzip -k abs.onnx
property holds.vnnlib -1 1 '>= Y_0 2.0001'
property fails.vnnlib -1 1 '>= Y_0 1.5'
property tight.vnnlib -1 1 '> Y_0 2'    # holds, but only just
property touch.vnnlib -1 1 '>= Y_0 2'   # fails in the corners only
property empty.vnnlib 1 -1 '>= Y_0 0'
gzip -k fails.vnnlib

run verify abs.onnx holds.vnnlib; expect_rc 20 holds; expect_first unsat holds
run verify abs.onnx fails.vnnlib; expect_rc 10 fails; expect_first sat fails; expect_out '^input: '
run verify abs.onnx.gz fails.vnnlib.gz; expect_rc 10 gzipped; expect_first sat gzipped
run attack abs.onnx fails.vnnlib; expect_rc 10 attack; expect_first sat attack
run attack abs.onnx holds.vnnlib; expect_rc 0 'attack cannot prove'; expect_first unknown attack
run verify abs.onnx tight.vnnlib --timeout 1; [ "$first" != sat ] || fail 'sat for a property that holds by a hair'
run verify abs.onnx touch.vnnlib --timeout 1; [ "$first" != unsat ] || fail 'unsat for a property that fails in a corner'
run verify abs.onnx empty.vnnlib; expect_rc 20 'empty box'; expect_first unsat 'empty box'; expect_err 'empty'
expect_out '^reason: empty input set'

# No engine contradicts the truth, one that cannot prove or refute does not claim to, and threads change nothing.
for engine in $(sed -n 's/^EP_ENGINE([a-z_]*, "\([a-z-]*\)".*/\1/p' "$EP_SOURCE/verifier/engines.def"); do
  for threads in 1 2; do
    run verify abs.onnx holds.vnnlib --engine "$engine" --threads $threads --timeout 10
    case $err in *'this build has no'*|*'not part of a binarised network'*) continue ;; esac
    [ "$rc $first" = "20 unsat" ] || [ "$rc $first" = "0 unknown" ] || fail "$engine on holds: $rc $first $err"
    run verify abs.onnx fails.vnnlib --engine "$engine" --threads $threads --timeout 10
    [ "$rc $first" = "10 sat" ] || [ "$rc $first" = "0 unknown" ] || fail "$engine on fails: $rc $first $err"
  done
done

# VNN-COMP's form: verdict, then the inputs and outputs; the values violate the property.
run verify abs.onnx fails.vnnlib --format vnncomp; expect_rc 10 vnncomp; expect_first sat vnncomp
tr -d '()' <stdout | awk '
  /X_0/ { for (i = 1; i < NF; i++) v[$i] = $(i + 1) } { for (i = 1; i < NF; i++) v[$i] = $(i + 1) }
  function abs(x) { return x < 0 ? -x : x }
  END { y = abs(v["X_0"]) + abs(v["X_1"])
        exit !(y >= 1.5 && abs(v["X_0"]) <= 1 && abs(v["X_1"]) <= 1 && abs(y - v["Y_0"]) < 1e-5) }' ||
  fail "not a counterexample: $out"
run verify abs.onnx holds.vnnlib --format vnncomp; [ "$out" = unsat ] || fail "vnncomp unsat prints more than a word: $out"

# --output takes the document, standard output keeps the verdict.
run verify abs.onnx fails.vnnlib --format vnncomp --output result.txt; [ "$out" = sat ] || fail "with --output: $out"
[ "$(head -n 1 result.txt)" = sat ] && grep -q 'X_1' result.txt || fail "result.txt: $(cat result.txt)"
run verify abs.onnx fails.vnnlib --format json --output result.json; [ "$out" = sat ] || fail "with --output: $out"
grep -q '"verdict": "sat"' result.json || fail "result.json: $(cat result.json)"

# Witness files.
run verify abs.onnx fails.vnnlib --witness cex.txt; expect_rc 10 'witness'; grep -q 'X_0' cex.txt || fail 'no witness in cex.txt'
run inspect abs.onnx fails.vnnlib --check cex.txt; expect_rc 10 'check of a counterexample'
run inspect abs.onnx holds.vnnlib --check cex.txt; expect_rc 0 'check against another property'; expect_out 'does not violate'
sed 's/X_0 [-0-9.e]*/X_0 1.0000001/' cex.txt >outside.txt
run inspect abs.onnx fails.vnnlib --check outside.txt; expect_rc 0 'no slack on inputs'
run inspect abs.onnx --check cex.txt; expect_refusal 1 'needs a property'
run inspect abs.onnx fails.vnnlib --check nosuch.txt; expect_refusal 2 'nosuch.txt'
run verify abs.onnx fails.vnnlib --witness cex.npy; expect_rc 10 'witness'
[ "$(head -c 6 cex.npy | tail -c 5)" = NUMPY ] || fail 'cex.npy is not a NumPy file'
run verify abs.onnx holds.vnnlib --witness none.txt; expect_rc 20 'no witness'; [ ! -e none.txt ] || fail 'a witness for unsat'

# bound: every sampled value lies inside; inspect counts.
run bound abs.onnx holds.vnnlib; expect_rc 0 bound
[ "$(grep -c '^  Y_0 in' stdout)" = 4 ] || fail "bound: $out"
tr -d '[],' <stdout | awk '/Y_0 in/ { n++; if (!($3 <= 0 && $4 >= 2)) bad = 1 } END { exit n != 4 || bad }' || fail "bounds exclude a true value: $out"
run bound abs.onnx --box -1,1 --method ibp; expect_rc 0 'bound --box'; [ "$(grep -c '^  Y_0 in' stdout)" = 1 ] || fail "bound --box: $out"
run inspect abs.onnx holds.vnnlib; expect_rc 0 inspect
expect_out '^parameters: '; expect_out 'Relu +univar'; expect_out '^box 0: 2 of 2 inputs free'
expect_out "^sha256: $(sha256sum <abs.onnx | cut -d' ' -f1)"
finish
