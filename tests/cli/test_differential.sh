#!/usr/bin/env bash
# A share of the differential testing, and its machinery on an engine that lies: the defect is found, shrunk to a small
# pair, and the pair shows it to the program itself. EPSPROOF_DIFFERENTIAL sets how many queries (default 300).
. "$EP_SOURCE/tests/cli/lib.sh"
tool=$EP_BUILD/benchmarks/differential
[ -x "$tool" ] || { echo 'SKIPPED: benchmarks are not built'; exit 77; }
for engine in smt milp; do
  abs_net; property p.vnnlib -1 1 '>= Y_0 3'
  run verify abs.onnx p.vnnlib --engine $engine
  case $err in *'this build has no'*) echo "SKIPPED: $err"; exit 77 ;; esac
done
"$tool" --count "${EPSPROOF_DIFFERENTIAL:-300}" --timeout 0.1 >log 2>&1 || fail "engines disagree: $(cat log)"
grep -q ' 0 defects' log || fail "no summary: $(cat log)"
# Both answers occur, and most queries are decided.
read -r sat unsat open < <(sed -n 's/^[0-9]* queries.*: \([0-9]*\) sat, \([0-9]*\) unsat, \([0-9]*\) decided by no.*/\1 \2 \3/p' log)
[ "$sat" -gt 50 ] && [ "$unsat" -gt 50 ] && [ "$open" -lt 60 ] || fail "lopsided: $(cat log)"

"$tool" --count 25 --seed 5 --timeout 0.3 --liar >liar 2>&1 && fail 'a lying engine goes unnoticed'
n=$(grep -c '^DEFECT' liar)
[ "$n" -ge 2 ] || fail "of 25 lies only $n are noticed: $(cat liar)"
for net in defect_*.onnx; do
  run verify "$net" "${net%.onnx}.vnnlib" --engine milp; expect_rc 10 "the pair $net shows the defect"
  run inspect "$net"; [ "$(grep -c Relu stdout)" = 1 ] || fail "$net is not small: $out"
done
"$tool" --engines nosuch >liar 2>&1 && fail 'an unknown engine is accepted'
finish
