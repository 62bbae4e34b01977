#!/usr/bin/env bash
# Linear programs at a root are never worse than CROWN and never unsound: a share of benchmarks/lp_root over random networks
# of all operators that solvers know, and its machinery on bounds that are wrong on purpose. EPSPROOF_LP_ROOT sets how many
# networks (default 400).
. "$EP_SOURCE/tests/cli/lib.sh"
tool=$EP_BUILD/benchmarks/lp_root
[ -x "$tool" ] || { echo 'SKIPPED: benchmarks are not built'; exit 77; }
abs_net; property p.vnnlib -1 1 '>= Y_0 3'
run verify abs.onnx p.vnnlib --engine lp
case $err in *'this build has no'*) echo "SKIPPED: $err"; exit 77 ;; esac
"$tool" --count "${EPSPROOF_LP_ROOT:-400}" >log 2>&1 || fail "defects: $(cat log)"
read -r bounds exact defects < <(sed -n 's/.*: \([0-9]*\) bounds, \([0-9]*\) networks with the exact range, \([0-9]*\) defects.*/\1 \2 \3/p' log)
[ "$bounds" -ge 3000 ] && [ "$exact" -ge 100 ] && [ "$defects" = 0 ] || fail "not what was expected: $(cat log)"
# Both steps gain on many outputs.
read -r triangle joint < <(sed -n 's/.*tighter on \([0-9]*\) outputs.*(on \([0-9]*\) more).*/\1 \2/p' log)
[ "$triangle" -ge 50 ] && [ "$joint" -ge 20 ] || fail "no gain: $(cat log)"
# Lower bounds of programs raised by a little: unsound; lowered: worse than CROWN.
"$tool" --count 60 --shift 0.001 >high 2>&1 && fail 'bounds that are too high go unnoticed'
grep -q 'unsound lower bound' high || fail "unsoundness is not told: $(cat high)"
"$tool" --count 60 --shift -0.001 >low 2>&1 && fail 'bounds that are too low go unnoticed'
grep -q 'dual below CROWN' low || fail "looseness is not told: $(cat low)"
"$tool" --nosuch 1 >usage 2>&1 && fail 'an unknown option is accepted'
finish
