#!/usr/bin/env bash
# Certificates: every engine that can say unsat writes one that the checker accepts; claims and covers that were changed are
# rejected; engines, networks and places that cannot be used are refused first.
. "$EP_SOURCE/tests/cli/lib.sh"
examples=$EP_SOURCE/examples
check() { # pattern, what; arguments of epsproof-check follow
  "$EPSPROOF_CHECK" "${@:3}" >answer 2>&1
  rc=$?
  grep -qE -- "$1" answer || fail "$2: epsproof-check says '$(cat answer)' ($rc), expected '$1'"
}

# Engines on the examples: whatever is unsat is accepted, fast and exactly.
n=0
for engine in $(sed -n 's/^EP_ENGINE([a-z_]*, "\([a-z-]*\)", [01], 1, 1,.*/\1/p' "$EP_SOURCE/verifier/engines.def"); do
  while IFS=, read -r _ onnx vnnlib _ truth _; do
    [ "$truth" = unsat ] || continue
    rm -f cert
    run verify "$examples/$onnx" "$examples/$vnnlib" --engine "$engine" --timeout 2 --certificate cert
    [ "$first" = unsat ] || { [ -e cert ] && fail "$engine: a certificate without unsat"; continue; }
    n=$((n + 1))
    expect_out '^certificate: cert \([0-9]+ bytes\)$'
    check '^ACCEPTED$' "$engine $vnnlib" "$examples/$onnx" "$examples/$vnnlib" cert
    [ "$(head -1 answer)" = ACCEPTED ] && [ $rc = 0 ] || fail "$engine $vnnlib: exit code $rc"
    [ "$vnnlib" = vnnlib/edges_bounded.vnnlib ] && [ "$engine" != bab ] ||
      check '^ACCEPTED$' "$engine $vnnlib, exact" --exact "$examples/$onnx" "$examples/$vnnlib" cert
  done <"$examples/truth.csv"
done
[ "$n" -ge 15 ] || fail "only $n certificates"

# JSON names the file; the same run makes the same certificate, whatever the number of threads.
run verify "$examples/onnx/edges.onnx" "$examples/vnnlib/edges_bounded.vnnlib" --engine bab --certificate one --threads 1 --format json
expect_out '"path": "one"'
run verify "$examples/onnx/edges.onnx" "$examples/vnnlib/edges_bounded.vnnlib" --engine bab --certificate two --threads 3
cmp -s one two || fail 'the certificate depends on the number of threads'

# Another claim: other network, other property, a violated property with its hash filled in.
check '^REJECTED: the certificate is about another property$' 'other property' "$examples/onnx/edges.onnx" "$examples/vnnlib/edges_reachable.vnnlib" one
check '^REJECTED: the certificate is about another network$' 'other network' "$examples/onnx/saw.onnx" "$examples/vnnlib/saw_is_bounded.vnnlib" one
gzip -dc <one >plain
{ head -c 41 plain; sha256sum "$examples/vnnlib/edges_reachable.vnnlib" | head -c 64 | sed 's/../\\x&/g' | xargs -0 printf '%b'; tail -c +74 plain; } >moved
[ "$(stat -c %s moved)" = "$(stat -c %s plain)" ] || fail 'the test moved the certificate wrongly'
check '^REJECTED: ' 'violated property' "$examples/onnx/edges.onnx" "$examples/vnnlib/edges_reachable.vnnlib" moved
# Cut off anywhere, or longer than it is.
check '^ACCEPTED$' 'not compressed' "$examples/onnx/edges.onnx" "$examples/vnnlib/edges_bounded.vnnlib" plain
for at in 0 5 40 72 90 200 5000 -1; do
  head -c "$at" plain >cut
  check '^REJECTED: (the certificate ends early|not a certificate)' "cut at $at" "$examples/onnx/edges.onnx" "$examples/vnnlib/edges_bounded.vnnlib" cut
done
{ cat plain; printf x; } >long
check '^REJECTED: 1 bytes after the end$' 'longer' "$examples/onnx/edges.onnx" "$examples/vnnlib/edges_bounded.vnnlib" long
{ head -c 74 plain | head -c 73; printf '\0Z'; } >empty
check '^REJECTED: polytope 0 of box 0 is not proved$' 'nothing in it' "$examples/onnx/edges.onnx" "$examples/vnnlib/edges_bounded.vnnlib" empty

# As JSON: every kind of section, and files that are none.
parse() { if command -v node >/dev/null; then node -e 'JSON.parse(require("fs").readFileSync(0, "utf8"))'; else cat >/dev/null; fi; }
for engine in ibp:centres:centres_robust bab:edges:edges_bounded input-split:xor:xor_stays_below_1.01 alpha-crown:saw:saw_is_bounded; do
  IFS=: read -r engine onnx vnnlib <<<"$engine"
  run verify "$examples/onnx/$onnx.onnx" "$examples/vnnlib/$vnnlib.vnnlib" --engine "$engine" --certificate cert
  run certificate cert
  expect_rc 0 "certificate, $engine"
  parse <stdout || fail "certificate, $engine: no JSON"
  expect_out '"semantics": "real"'
  expect_out "\"property_sha256\": \"$(sha256sum "$examples/vnnlib/$vnnlib.vnnlib" | head -c 64)\""
done
for at in 0 40 200 5000 -1; do
  head -c "$at" plain >cut
  run certificate cut
  expect_rc 2 "certificate, cut at $at"
  expect_err 'cut: not a certificate of format 2: it ends early'
done
run certificate "$examples/vnnlib/xor_stays_below_1.01.vnnlib"
expect_refusal 2 'not a certificate of format 2: its first bytes are others'

# A random network of three inputs, and two polytopes, one of them of two rows.
random_net() { # seed, sizes...: Gemm and Relu in turn, as text
  awk -v seed="$1" -v sizes="${*:2}" 'function draw() { seed = (seed * 16807) % 2147483647; return seed / 2147483647 - 0.5 }
    function tensor(name, dims, n, scale,   i) {
      printf "initializer { name: \"%s\" data_type: 1 %s", name, dims
      for (i = 0; i < n; i++) printf " float_data: %.6f", scale * draw()
      print " }" }
    BEGIN { n = split(sizes, s, " ")
      print "ir_version: 7 opset_import { version: 13 } graph { name: \"random\""
      for (l = 1; l < n; l++) {
        tensor("W" l, "dims: " s[l] " dims: " s[l + 1], s[l] * s[l + 1], 4 / sqrt(s[l]))
        tensor("b" l, "dims: " s[l + 1], s[l + 1], 0.5)
        printf "node { input: \"%s\" input: \"W%d\" input: \"b%d\" output: \"%s\" op_type: \"Gemm\" }\n",
          l == 1 ? "x" : "r" (l - 1), l, l, l == n - 1 ? "y" : "z" l
        if (l < n - 1) printf "node { input: \"z%d\" output: \"r%d\" op_type: \"Relu\" }\n", l, l
      }
      form = "type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: %d } } } } }\n"
      printf "input { name: \"x\" " form, s[1]
      printf "output { name: \"y\" " form "}\n", s[n] }'
}
random_net 8 3 24 24 24 2 | encode >random.onnx
two_rows() { # file, thresholds
  for k in X_0 X_1 X_2 Y_0 Y_1; do echo "(declare-const $k Real)"; done >"$1"
  for i in 0 1 2; do echo "(assert (<= X_$i 1))(assert (>= X_$i -1))"; done >>"$1"
  echo "(assert (or (and (>= Y_0 $2) (>= Y_1 $3)) (<= Y_0 -$2)))" >>"$1"
}
two_rows safe.vnnlib 2 0.5
two_rows unsafe.vnnlib 0.2 0.2
run verify random.onnx unsafe.vnnlib
expect_first sat 'the violated property'
# Boxes decided by the phases of their neurons.
run verify random.onnx safe.vnnlib --engine input-split --certificate cases
expect_first unsat 'boxes and neurons'
check '^ACCEPTED$' 'boxes and neurons' random.onnx safe.vnnlib cases
run certificate cases
parse <stdout || fail 'certificate, boxes and neurons: no JSON'
expect_out '"cases": \[\{"polytope": [01], "tree"'

# Linear programmes: prices, a sum of two rows, bounds of neurons.
random_net 5 3 8 8 2 | encode >small.onnx
two_rows small.vnnlib 1 0.5
sed -i 's/(<= Y_0 -1)/(<= Y_0 -3)/' small.vnnlib
two_rows small_unsafe.vnnlib 0 -3
run verify small.onnx small_unsafe.vnnlib
expect_first sat 'the violated property'
run verify small.onnx small.vnnlib --engine milp --certificate programmes
expect_first unsat milp
for mode in '' --exact; do check '^ACCEPTED$' "milp $mode" $mode small.onnx small.vnnlib programmes; done
run certificate programmes
parse <stdout || fail 'certificate, milp: no JSON'
expect_out '"weights": \[(1, 0|0)\.[0-9]'
expect_out '"side": "(lower|upper)", "tree": \{"prices": \['
expect_out '"neuron": \[[01], [0-7]\], "inactive": '

# A leaf of branch and bound that only a linear programme closes: 1.13006330 is the largest output but for rounding.
for k in X_0 X_1 X_2 Y_0 Y_1; do echo "(declare-const $k Real)"; done >tight.vnnlib
for i in 0 1 2; do echo "(assert (<= X_$i 1))(assert (>= X_$i -1))"; done >>tight.vnnlib
echo '(assert (>= Y_0 1.130065))' >>tight.vnnlib
run verify small.onnx tight.vnnlib --engine bab --certificate tight
expect_first unsat 'bab, tight'
for mode in '' --exact; do check '^ACCEPTED$' "bab, tight $mode" $mode small.onnx tight.vnnlib tight; done
run certificate tight
expect_out '"slopes": \['
expect_out '"prices": \['

# Random mutants, each kind of section.
mutate() { # network property certificate count violated
  "$EP_MUTATE" "$1" "$2" "$3" "$4" 1 "$5" >answer 2>&1 || fail "mutants of $3 ($2): $(tail -3 answer)"
  grep -qE "^$4 mutants, [1-9][0-9]* accepted, 0 wrong$" answer || fail "mutants of $3 ($2): $(tail -1 answer)"
}
mutants() { # engine network property violated count
  run verify "$examples/onnx/$2.onnx" "$examples/vnnlib/$3.vnnlib" --engine "$1" --certificate cert
  expect_first unsat "$1 $3"
  mutate "$examples/onnx/$2.onnx" "$examples/vnnlib/$3.vnnlib" cert "$5" "$examples/vnnlib/$4.vnnlib"
}
mutate random.onnx safe.vnnlib cases 60 unsafe.vnnlib
mutate small.onnx small.vnnlib programmes 2000 small_unsafe.vnnlib
mutants bab residual residual_norm residual_reach 3000
mutants alpha-crown saw saw_is_bounded saw_reaches_zero 3000
mutants input-split xor xor_stays_below_1.01 xor_can_pass_0.9 1000
mutants bab xor xor_stays_below_1.01 xor_can_pass_0.9 3000
mutants ibp centres centres_robust centres_not_robust 2000

# Refusals: engine, network, place; the checker's own.
abs_net
property high.vnnlib -1 1 ">= Y_0 3"
run verify abs.onnx high.vnnlib --engine forward --certificate cert
expect_refusal 1 "--certificate: the engine 'forward' writes none"
run verify abs.onnx high.vnnlib --engine smt --certificate cert
expect_refusal 1 "--certificate: the engine 'smt' writes none \(docs/certificate.md says why\)"
run verify abs.onnx high.vnnlib --engine sat --certificate cert
expect_refusal 1 "--certificate: the engine 'sat' writes none .*--proof"
sed 's/Relu/Tanh/' <<'END' | encode >tanh.onnx
ir_version: 7
opset_import { version: 13 }
graph {
  name: "t"
  node { input: "x" output: "y" op_type: "Relu" name: "act" }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
}
END
sed 's/(declare-const Y_0 Real)/&\n(declare-const Y_1 Real)/' high.vnnlib >two.vnnlib
run verify tanh.onnx two.vnnlib --certificate cert
expect_refusal 2 "node 'act' \(Tanh\): certificates cover affine nodes and Relu only"
run verify abs.onnx high.vnnlib --certificate no/such/folder/cert
expect_refusal 2 'no/such/folder/cert: cannot write there \(--certificate\)'
run verify abs.onnx high.vnnlib --certificate cert
check '^ACCEPTED$' 'abs' abs.onnx high.vnnlib cert
check '^error: property, line 8: unknown operation|^error: property, line' 'bad property' abs.onnx <(sed 's/Y_0 3/(f Y_0) 3/' high.vnnlib) cert
[ $rc = 2 ] || fail "bad property: exit code $rc"
check "^error: network, operator 'Tanh' is not supported$" 'bad network' tanh.onnx two.vnnlib cert
check '^error: missing: No such file' 'no certificate' abs.onnx high.vnnlib missing
check '^usage: epsproof-check' 'no arguments'
finish
