#!/usr/bin/env bash
# Time, signals and memory: each ends the run with an answer. Nothing here asserts how fast, only that it ends.
. "$EP_SOURCE/tests/cli/lib.sh"
hard_instance
run verify hard.onnx hard.vnnlib --timeout 0.5
expect_rc 0 timeout; expect_first timeout 'timeout'; expect_out '^reason: timeout'
run verify hard.onnx hard.vnnlib --timeout 0.5 --format json --engine bab
expect_rc 0 timeout; expect_out '"verdict": "timeout"'
run verify hard.onnx hard.vnnlib --timeout 1e-9
expect_rc 0 'no time at all'; expect_first timeout 'no time at all'

for signal in INT TERM; do
  # A background job of a script ignores SIGINT unless it asks for it again.
  (trap - INT; exec "$EPSPROOF" verify hard.onnx hard.vnnlib --timeout 0 --format json --output partial.json >stdout 2>stderr) &
  pid=$!
  sleep 0.5
  kill -"$signal" $pid
  timeout 60 tail --pid=$pid -f /dev/null || { fail "SIG$signal does not end it"; kill -KILL $pid; }
  wait $pid; rc=$?
  out=$(cat stdout) err=$(cat stderr) first=${out%%$'\n'*}
  expect_rc 0 "SIG$signal"; expect_first unknown "SIG$signal"
  grep -q '"reason": "interrupted"' partial.json || fail "SIG$signal: $(cat partial.json)"
  grep -q '"phases"' partial.json || fail "SIG$signal: no phases so far"
done

# Two signals at once: out at once, still with a verdict.
(trap - INT; exec "$EPSPROOF" verify hard.onnx hard.vnnlib --timeout 0 >stdout 2>stderr) &
pid=$!
sleep 0.5
kill -INT $pid; kill -INT $pid
wait $pid; rc=$?
out=$(cat stdout) err=$(cat stderr) first=${out%%$'\n'*}
expect_rc 0 'two signals'; expect_first unknown 'two signals'
[ "$(grep -c '^unknown' stdout)" = 1 ] || fail "more than one verdict: $out"

# The memory limit is an answer, wherever it strikes.
for mib in 0.01 0.1 0.5 1; do
  run verify hard.onnx hard.vnnlib --memory-limit $mib --timeout 1
  expect_rc 0 "memory limit $mib"
  [ "$first" = unknown ] || [ "$first" = timeout ] || fail "memory limit $mib: $first"
done
run verify hard.onnx hard.vnnlib --memory-limit 0.01
expect_out '^reason: memory limit'

# The progress line: on demand, wiped at the end, never on standard output.
run verify hard.onnx hard.vnnlib --timeout 0.6 --progress on
expect_first timeout progress; expect_err 'domains'; expect_err 's left'
[ "$(tail -c 4 stderr | od -An -tx1 | tr -d ' ')" = 0d1b5b4b ] || fail 'the progress line is not wiped'
run verify hard.onnx hard.vnnlib --timeout 0.3
[ -z "$err" ] || fail "progress without a terminal: $err"
finish
