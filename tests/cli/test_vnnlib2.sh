#!/usr/bin/env bash
# VNN-LIB 2: the examples translated give the same verdicts, certificates and answers of the checker; the type chooses the
# semantics; the standard's command line prints what the standard says and nothing else; refusals.
. "$EP_SOURCE/tests/cli/lib.sh"
examples=$EP_SOURCE/examples

# translate TYPE FILE: a flat property of version 1 as a query about the network "net" with tensors [1,n].
translate() {
  awk -v type="$1" '
    /^\(declare-const X_/ { nx++; next }
    /^\(declare-const Y_/ { ny++; next }
    !done && /^\(assert/ {
      printf "(vnnlib-version <2.0>)\n(declare-network net\n  (declare-input X %s [1,%d])\n  (declare-output Y %s [1,%d])\n)\n", type, nx, type, ny
      done = 1
    }
    { line = $0
      while (match(line, /[XY]_[0-9]+/))
        line = substr(line, 1, RSTART) "[0," substr(line, RSTART + 2, RLENGTH - 2) "]" substr(line, RSTART + RLENGTH)
      gsub(/\(= /, "(== ", line)
      print line }' "$2"
}

# Every example: verdict, certificate, checker.
n=0
while IFS=, read -r benchmark onnx vnnlib _ truth _; do
  [ "$benchmark" = benchmark ] && continue
  for type in real float32; do
    rm -f cert1 cert2
    translate $type "$examples/$vnnlib" >two.vnnlib
    run verify "$examples/$onnx" "$examples/$vnnlib" --timeout 20 --semantics $type --certificate cert1
    one=$first
    run verify "$examples/$onnx" two.vnnlib --timeout 20 --certificate cert2
    expect_first "$one" "$vnnlib as $type"
    [ $type = float32 ] || expect_first "$truth" "$vnnlib"
    run verify two.vnnlib --network "net=$examples/$onnx" --timeout 20
    expect_first "$one" "$vnnlib as $type, the standard's command line"
    [ "$one" = unsat ] || continue
    n=$((n + 1))
    [ "$out" = unsat ] || fail "more than the verdict on standard output: $out"
    for k in 1 2; do
      property=$([ $k = 1 ] && echo "$examples/$vnnlib" || echo two.vnnlib)
      "$EPSPROOF_CHECK" "$examples/$onnx" "$property" cert$k >answer 2>&1
      [ "$(cat answer)" = "$(printf 'ACCEPTED\nsemantics: %s' $type)" ] || fail "$property $type: $(cat answer)"
    done
    # The certificates differ in the property's hash and nowhere else; each is about its own file.
    gzip -dc <cert1 >plain1
    gzip -dc <cert2 >plain2
    cmp -s <(head -c 41 plain1; tail -c +74 plain1) <(head -c 41 plain2; tail -c +74 plain2) || [ $type = float32 ] ||
      fail "$vnnlib: another certificate than that of its translation"
    "$EPSPROOF_CHECK" "$examples/$onnx" two.vnnlib cert1 | grep -q '^REJECTED: .*another property' || fail "$vnnlib: moved"
  done
done <"$examples/truth.csv"
[ "$n" -ge 9 ] || fail "only $n certificates"

# The shipped queries, and what the type does.
xor=$examples/onnx/xor.onnx queries=$examples/vnnlib2
run verify "$queries/xor_stays_below_1.01.vnnlib" --network "xor=$xor"; expect_first unsat 'shipped, float32'; expect_rc 20 unsat
run verify "$queries/xor_can_pass_0.9.vnnlib" --network "xor=$xor"; expect_first sat 'shipped, real'; expect_rc 10 sat
[ "$(sed -n '2p;5p' stdout)" = $'X real [1,2]\nY real [1,1]' ] || fail "the assignment is '$out'"
[ "$(wc -l <stdout)" = 6 ] || fail "not six lines: '$out'"
sed -n '3,4p;6p' stdout | grep -qvE '^-?[0-9]+\.[0-9]+$' && fail "no plain decimals: '$out'"
[ -z "$err" ] || fail "something on standard error: $err"
awk 'NR == 3 { a = $1 } NR == 4 { b = $1 } END { exit !(a > 0.5 && a <= 1 && b >= 0.125 && b != 0.25 && b + 0.1 <= a && a + b - 2 * (a + b > 1 ? a + b - 1 : 0) >= 0.9) }' stdout ||
  fail "no counterexample: $out"
for how in --semantics=float32:float32 --semantics=real:real :float32; do
  run verify "$xor" "$queries/xor_stays_below_1.01.vnnlib" ${how%:*} --format json
  expect_out "\"semantics\": \"${how#*:}\""
done
run verify "$xor" "$queries/xor_can_pass_0.9.vnnlib" --format json; expect_out '"semantics": "real"'
run verify "$xor" "$queries/xor_stays_below_1.01.vnnlib" --engine forward
expect_refusal 1 "engine 'forward' knows real semantics only"
run verify "$xor" "$queries/xor_stays_below_1.01.vnnlib" --engine forward --semantics real; expect_rc 0 'forward, real'

# Tensors as files.
rm -rf tensors
run verify "$queries/xor_can_pass_0.9.vnnlib" --network "xor=$xor" --serialise-assignments tensors
[ "$out" = sat ] || fail "serialised, but prints '$out'"
for t in X Y; do
  "$EP_PROTOC" --decode=onnx.TensorProto -I"$EP_PROTO_DIR" onnx/onnx.proto <tensors/$t.pb >$t.txt || fail "$t.pb is no tensor"
  grep -q "^name: \"$t\"" $t.txt && grep -q '^data_type: 1' $t.txt && grep -q '^raw_data: ' $t.txt || fail "$t.pb: $(cat $t.txt)"
done
[ "$(grep dims X.txt)" = $'dims: 1\ndims: 2' ] || fail "X.pb: $(cat X.txt)"
run verify "$queries/xor_can_pass_0.9.vnnlib" --network "xor=$xor" --assignments "$xor/no"; expect_rc 2 'no such folder'

# The other verdicts; the same form for version 1.
hard_instance
run verify hard.vnnlib --network net=hard.onnx --timeout 0.4; [ "$out" = timed-out ] || fail "a timeout prints '$out'"; expect_rc 0 timed-out
run verify hard.vnnlib --network net=hard.onnx --engine ibp; [ "$out" = unknown ] || fail "unknown prints '$out'"
abs_net
property high.vnnlib -1 1 ">= Y_0 1.5"
run verify abs.onnx high.vnnlib --format vnnlib
expect_first sat 'version 1'; [ "$(sed -n 2p stdout)" = 'X real [2]' ] && [ "$(sed -n 5p stdout)" = 'Y real [1]' ] || fail "version 1 prints $out"

# What other commands make of a query.
run inspect "$xor" "$queries/xor_can_pass_0.9.vnnlib"; expect_out '^inputs: 2, outputs: 1, boxes: 2'
run bound "$xor" "$queries/xor_can_pass_0.9.vnnlib"; expect_rc 0 bound
run encode "$xor" "$queries/xor_can_pass_0.9.vnnlib" --to smt2; expect_rc 0 encode; expect_out '^\(assert'

# supports: every operator of the registry, every capability of the standard.
run supports --onnx-operators
for op in $(sed -n 's/^EP_OPERATOR([a-z_]*, "\([A-Za-z]*\)".*/\1/p' "$EP_SOURCE/models/ops.def") Constant Split; do
  grep -qE "^$op( real)?$" stdout || fail "supports does not list $op"
done
grep -qx 'Sigmoid real' stdout && grep -qx Relu stdout || fail "types of operators: $out"
while read -r flag answer; do
  run supports "$flag"; expect_rc 0 "$flag"
  [ "$(echo "$out" | tr '\n' ' ')" = "$answer " ] || fail "supports $flag prints '$out'"
done <<'END'
--onnx-opset-versions 8 20
--onnx-element-types real float32
--vnnlib-versions 1.0 2.1
--hidden-node-theories NH
--multiple-input-output-theories SIO
--multiple-network-theories SNET
--multiple-node-comparison-theories SNC MNC
--arithmetic-complexity-theories BND OUTC LIN
--optimised-disjunctive-reasoning false
--serialise-assignments true
--unsat-proofs false
END
run supports --colours; expect_refusal 1 "unknown capability '--colours', known are: --onnx-opset-versions"
run supports; expect_refusal 1 'needs more arguments'
run --name; [ "$out" = epsproof ] || fail "--name prints $out"

# Refusals.
q=$queries/xor_can_pass_0.9.vnnlib
run verify "$q"; expect_refusal 1 "needs more arguments"
run verify "$xor" "$q" --network "xor=$xor"; expect_refusal 1 'the network is given already'
run verify "$q" --network "$xor"; expect_refusal 1 'expected NAME=FILE'
run verify "$q" --network "xor="; expect_refusal 1 'expected NAME=FILE'
run verify "$q" --network "net=$xor"; expect_refusal 1 "declares the network 'xor', --network gives a file for 'net'"
run verify "$q" --network "xor=$xor" --network "g=$xor"; expect_refusal 1 '--network is given twice'
run verify "$q" --network xor=missing.onnx; expect_refusal 2 'missing.onnx: No such file'
run verify "$q" --network "xor=$examples/onnx/saw.onnx"; expect_refusal 2 'the property has 2 inputs, the network 1'
sed 's/\[1,2\]/[2,1]/; s/X\[0,\([01]\)\]/X[\1,0]/g' "$q" >turned.vnnlib
run verify turned.vnnlib --network "xor=$xor"; expect_refusal 2 "'X' is declared as \[2,1\], the network's input is \[1,2\]"
sed '/declare-output/i (declare-hidden H real [1,2] "h")' "$q" >hidden.vnnlib
run verify hidden.vnnlib --network "xor=$xor"; expect_refusal 2 "hidden.vnnlib:6:17: hidden tensors \('H'\) are not supported"
{ sed '/^(assert/,$d' "$q"; echo '(declare-network g (equal-to xor) (declare-input Z real [1]) (declare-output W real [1]))'; } >two.vnnlib
run verify two.vnnlib --network "xor=$xor"; expect_refusal 2 "several networks \('g'\) are not supported"
run verify "$xor" <(sed 's/<2.0>/<4.2>/' "$q"); expect_refusal 2 ':2:17: VNN-LIB version <4.2> is not supported'
run eval "$xor" --data none --epsilon 0.1 --format vnnlib; expect_refusal 1 'no --format vnnlib'
# One box with a strict bound beside the same without: two for the verifier, one for the checker. With one kind there is no doubt.
sed '/^(assert/,$d' "$q" >strict.vnnlib
cat >>strict.vnnlib <<'END'
(assert (and (<= X[0,0] 1) (>= X[0,1] 0) (<= X[0,1] 1)))
(assert (or (and (>= X[0,0] 0) (>= Y[0,0] 1.5)) (and (> X[0,0] 0) (<= Y[0,0] -0.5))))
END
run verify strict.vnnlib --network "xor=$xor" --certificate c; expect_refusal 2 'cannot tell input boxes apart that differ in strictness alone'
run verify strict.vnnlib --network "xor=$xor"; expect_first unsat 'without a certificate'
sed -i 's/>= X\[0,0\]/> X[0,0]/' strict.vnnlib
run verify strict.vnnlib --network "xor=$xor" --certificate c; expect_first unsat 'strict throughout'
"$EPSPROOF_CHECK" "$xor" strict.vnnlib c | grep -q ^ACCEPTED || fail 'strict throughout: not accepted'
finish
