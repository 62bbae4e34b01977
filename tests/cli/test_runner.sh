#!/usr/bin/env bash
# benchmarks/vnncomp.sh and scripts/vnncomp/ on a folder made here.
. "$EP_SOURCE/tests/cli/lib.sh"
abs_net
mkdir -p set/one/onnx set/one/vnnlib set/two
cp abs.onnx set/one/onnx/abs.onnx; gzip set/one/onnx/abs.onnx
property set/one/vnnlib/holds.vnnlib -1 1 '>= Y_0 2.5'
property set/one/vnnlib/fails.vnnlib -1 1 '>= Y_0 1.5'
cp abs.onnx set/two/; property set/two/p.vnnlib -1 1 '>= Y_0 2.5'; property set/two/bad.vnnlib -1 1 '>= Z 2.5'
printf 'onnx/abs.onnx.gz,vnnlib/holds.vnnlib,10\r\nonnx/abs.onnx.gz,vnnlib/fails.vnnlib,10.0\n' >set/one/instances.csv
printf 'abs.onnx,p.vnnlib,10\nabs.onnx,bad.vnnlib,10\n' >set/two/instances.csv
cat >set/truth.csv <<'END'
benchmark,onnx,vnnlib,timeout_s,truth,basis,counterexample,fastest_published_s
one,onnx/abs.onnx.gz,vnnlib/holds.vnnlib,10,unsat,agreed,,1
one,onnx/abs.onnx.gz,vnnlib/fails.vnnlib,10,sat,agreed,,1
two,abs.onnx,p.vnnlib,10,unknown,none,,
END
bench() { "$EP_SOURCE/benchmarks/vnncomp.sh" --binary "$EPSPROOF" "$@" >stdout 2>stderr; rc=$?; out=$(cat stdout) err=$(cat stderr); }
bench set --out r.csv --timeout-cap 5; expect_rc 0 'all right'
[ "$(wc -l <r.csv)" = 5 ] || fail "results: $(cat r.csv)"
column() { awk -F, -v b="$1" -v v="$2" -v c="$3" '$1 == b && $3 ~ v { print $c }' r.csv; }
[ "$(column one holds 5),$(column one holds 10)" = unsat,right ] || fail "holds: $(cat r.csv)"
[ "$(column one fails 5),$(column one fails 10)" = sat,right ] || fail "fails: $(cat r.csv)"
[ "$(column two p.vnnlib 10)" = new ] || fail "unknown truth: $(cat r.csv)"
[ "$(column two bad 5),$(column two bad 10)" = error,unsolved ] || fail "bad input: $(cat r.csv)"
case $(column one fails 12) in ok|skipped) ;; *) fail "replay: $(column one fails 12)" ;; esac
[ "$(column one fails 4)" = 5 ] || fail 'the cap on timeouts does not reach the program'
[ -n "$(column one fails 8)" ] && [ -n "$(column one fails 7)" ] || fail 'no memory or CPU time'
grep -qE '^one +2 +2 +0 +0 +0 ' stdout || fail "table: $out"
expect_err 'bad.vnnlib'

# Resumable: nothing is run twice, one more instance is.
cp r.csv before.csv
bench set --out r.csv; expect_rc 0 'resumed'; cmp -s r.csv before.csv || fail 'instances ran twice'
echo 'onnx/abs.onnx.gz,vnnlib/touch.vnnlib,10' >>set/one/instances.csv
property set/one/vnnlib/touch.vnnlib -1 1 '>= Y_0 9'
bench set --out r.csv --only one --jobs 2; [ "$(wc -l <r.csv)" = 6 ] || fail "resumed: $(cat r.csv)"

# A verdict against the known answer is found, said, and counted; two jobs run as well as one.
sed -i 's/,unsat,agreed/,sat,agreed/' set/truth.csv
bench set --out wrong.csv --jobs 2; expect_rc 1 'wrong verdict'; expect_err 'WRONG: one .*holds'
grep -qE '^one +3 +1 +1 ' stdout || fail "table: $out"
bench nosuch; expect_rc 2 'no folder'
bench set --only nosuch; expect_rc 2 'no benchmark'
bench set --nosuch 1; expect_rc 2 'unknown option'

# Ctrl-C ends it at once and records nothing half done, with one job and with several.
hard_instance
mkdir slow && mv hard.onnx hard.vnnlib slow/
printf 'hard.onnx,hard.vnnlib,120\nhard.onnx,hard.vnnlib,121\n' >slow/instances.csv
for jobs in 1 2; do
  (trap - INT TERM; exec "$EP_SOURCE/benchmarks/vnncomp.sh" slow --binary "$EPSPROOF" --out slow$jobs.csv --jobs $jobs >stdout 2>stderr) &
  pid=$!
  for ((i = 0; i < 300; i++)); do [ -s slow$jobs.csv ] && break; sleep 0.1; done # it runs once its table has a header
  sleep 1
  kill -TERM $pid
  timeout 60 tail --pid=$pid -f /dev/null || { fail "--jobs $jobs does not end on a signal"; kill -KILL $pid; }
  wait $pid; rc=$? out=$(cat stdout) err=$(cat stderr)
  expect_rc 130 "interrupted, --jobs $jobs"
  [ "$(wc -l <slow$jobs.csv)" = 1 ] || fail "an interrupted instance is recorded: $(cat slow$jobs.csv)"
done

# The competition's scripts.
scripts=$EP_SOURCE/scripts/vnncomp
EPSPROOF=$EPSPROOF "$scripts/prepare_instance.sh" v1 one set/one/onnx/abs.onnx.gz set/one/vnnlib/holds.vnnlib || fail prepare
EPSPROOF=$EPSPROOF "$scripts/prepare_instance.sh" v1 one nosuch.onnx set/one/vnnlib/holds.vnnlib 2>/dev/null && fail 'prepare of nothing'
EPSPROOF=$EPSPROOF "$scripts/run_instance.sh" v1 one set/one/onnx/abs.onnx.gz set/one/vnnlib/holds.vnnlib res 10 >/dev/null || fail run
[ "$(cat res)" = unsat ] || fail "res: $(cat res)"
EPSPROOF=$EPSPROOF "$scripts/run_instance.sh" v1 one set/one/onnx/abs.onnx.gz set/one/vnnlib/fails.vnnlib res 10 >/dev/null || fail run
[ "$(head -n 1 res)" = sat ] && grep -q '(X_0 ' res || fail "res: $(cat res)"
EPSPROOF=$EPSPROOF "$scripts/run_instance.sh" v1 two nosuch set/two/bad.vnnlib res 10 >/dev/null 2>&1
[ "$(cat res)" = error ] || fail "res: $(cat res)"
finish
