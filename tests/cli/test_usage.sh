#!/usr/bin/env bash
# Commands, options in both forms, help, refusals of wrong usage.
. "$EP_SOURCE/tests/cli/lib.sh"
abs_net
property holds.vnnlib -1 1 '>= Y_0 5'

run; expect_refusal 1 'no command'
run frobnicate; expect_refusal 1 "unknown command 'frobnicate'"
run --frobnicate; expect_refusal 1 "unknown option"
run verify; expect_refusal 1 'needs more arguments.*NET.onnx PROP.vnnlib'
run verify abs.onnx; expect_refusal 1 'needs more arguments'
run verify a b c; expect_refusal 1 "unexpected argument 'c'"
run verify a b --timout=3; expect_refusal 1 'did you mean --timeout'
run verify a b --xyzzyxyzzy; expect_refusal 1 'unknown option --xyzzyxyzzy'
run verify a b --timeout; expect_refusal 1 'needs a value'
run verify a b --timeout=-1; expect_refusal 1 'outside 0'
run verify a b --timeout=abc; expect_refusal 1 'not a number'
run verify a b --threads 1.5; expect_refusal 1 'not a whole number'
run verify a b --format yaml; expect_refusal 1 'text\|json\|vnncomp'
run verify a b --semantics float16; expect_refusal 1 'not one of auto|real|float32'
run verify a b --engine nosuch; expect_refusal 1 'known are: .*attack.*auto'
run verify a b --branching nosuch; expect_refusal 1 'known are: .*babsr'
run verify a b --method ibp; expect_refusal 1 'does not apply to'
run verify a b -x; expect_refusal 1 'unknown option -x'
run verify a b --output=; expect_refusal 1 'empty value'
run attack a b --engine crown; expect_refusal 1 'takes no --engine'
run bound abs.onnx; expect_refusal 1 'property or --box'
run bound abs.onnx holds.vnnlib --box 0,1; expect_refusal 1 'property or --box'
run bound abs.onnx --box 1,0; expect_refusal 1 'not a range'
run bound abs.onnx --box 1; expect_refusal 1 'LO,HI'
run inspect abs.onnx --format vnncomp; expect_refusal 1 'no --format vnncomp'
run help nosuch; expect_refusal 1 'no help on'

run --version; expect_rc 0 version; expect_out '^[0-9]+\.[0-9]+\.[0-9]+$'
run -V; expect_rc 0 -V; expect_out '^epsproof [0-9]+\.[0-9]+\.[0-9]+ \(commit .+\)$'
run --help; expect_rc 0 help; expect_out '^usage: epsproof'
run help; expect_rc 0 help
for command in $(sed -n 's/^EP_COMMAND([a-z]*, "\([a-z]*\)".*/\1/p' "$EP_SOURCE/verifier/commands.def"); do
  run help; expect_out "^  $command "
  run help "$command"; expect_rc 0 "help $command"; expect_out "^usage: epsproof $command"
  [ "$command" = help ] || { run "$command" --help; expect_rc 0 "$command --help"; expect_out "^usage: epsproof $command"; }
done
run help engines; expect_rc 0 'help engines'
for engine in $(sed -n 's/^EP_ENGINE([a-z_]*, "\([a-z-]*\)".*/\1/p' "$EP_SOURCE/verifier/engines.def"); do
  expect_out "^  $engine "
done
run help options
for flag in $(sed -n 's/^EP_OPT([a-z_0-9]*, "\([^"]*\)".*/\1/p' "$EP_SOURCE/verifier/options.def"); do
  expect_out "^  --$flag="
done

run verify abs.onnx holds.vnnlib --timeout=10 --seed 3 --engine crown; expect_rc 20 'both option forms'
run verify --timeout 10 -- abs.onnx holds.vnnlib; expect_rc 20 'options first, then --'
run verify abs.onnx holds.vnnlib -q; expect_rc 20 quiet; [ -z "$err" ] || fail "-q still talks: $err"
run verify abs.onnx holds.vnnlib -vv; expect_rc 20 '-vv'; expect_err 'inputs'
expect_first unsat 'chatter stays off standard output'

# The completion knows every command.
run help completion
printf '%s\n' "$out" >completion
(. ./completion && COMP_WORDS=(epsproof ver) COMP_CWORD=1 && _epsproof && [ "${COMPREPLY[*]}" = verify ]) || fail 'completion of "ver"'
(. ./completion && COMP_WORDS=(epsproof verify --tim) COMP_CWORD=2 && _epsproof && [ "${COMPREPLY[*]}" = --timeout ]) ||
  fail 'completion of "--tim"'
finish
