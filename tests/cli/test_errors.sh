#!/usr/bin/env bash
# Bad input: one clear line naming the file, exit code 2, and never a verdict.
. "$EP_SOURCE/tests/cli/lib.sh"
abs_net
property ok.vnnlib -1 1 '>= Y_0 3'
run verify nosuch.onnx ok.vnnlib; expect_refusal 2 'nosuch.onnx'
run verify abs.onnx nosuch.vnnlib; expect_refusal 2 'nosuch.vnnlib'
run verify . ok.vnnlib; expect_refusal 2 ': '
run verify ok.vnnlib ok.vnnlib; expect_refusal 2 'ok.vnnlib'
run verify abs.onnx abs.onnx; expect_refusal 2 'abs.onnx'
head -c 60 abs.onnx >cut.onnx
run verify cut.onnx ok.vnnlib; expect_refusal 2 'cut.onnx'
: >empty.onnx
run verify empty.onnx ok.vnnlib; expect_refusal 2 'empty.onnx'
sed 's/X_1/X_2/' ok.vnnlib >gap.vnnlib
run verify abs.onnx gap.vnnlib; expect_refusal 2 'gap.vnnlib'
sed '/X_1/d' ok.vnnlib >narrow.vnnlib
run verify abs.onnx narrow.vnnlib; expect_refusal 2 'narrow.vnnlib.*1 inputs.*2'
grep -v '(<= X_1' ok.vnnlib >open.vnnlib
run verify abs.onnx open.vnnlib; expect_refusal 2 'X_1'
echo '(assert (<= X_0' >>ok2.vnnlib; cat ok.vnnlib ok2.vnnlib >torn.vnnlib
run verify abs.onnx torn.vnnlib; expect_refusal 2 'torn.vnnlib:[0-9]+'
encode >odd.onnx <<'END'
ir_version: 7 opset_import { version: 13 }
graph { name: "odd" node { input: "x" output: "y" op_type: "NoSuchOp" name: "odd_node" }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 2 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 2 } } } } } }
END
run verify odd.onnx ok.vnnlib; expect_refusal 2 'NoSuchOp'
run inspect odd.onnx; expect_refusal 2 'NoSuchOp'
run bound odd.onnx --box 0,1; expect_refusal 2 'NoSuchOp'

# Unwritable results are refused before any work, and nothing is lost when the disk is full.
run verify abs.onnx ok.vnnlib --output nowhere/result.json; expect_refusal 2 'nowhere/result.json'
run verify abs.onnx ok.vnnlib --witness nowhere/cex.txt; expect_refusal 2 'nowhere/cex.txt'
if [ -e /dev/full ]; then
  run verify abs.onnx ok.vnnlib --output /dev/full
  expect_rc 2 'full disk'; expect_first unsat 'the verdict is out although the file failed'
  "$EPSPROOF" verify abs.onnx ok.vnnlib >/dev/full 2>stderr; rc=$?
  expect_rc 2 'full standard output'
fi

# Programs that ask for a document get one for errors too.
run verify nosuch.onnx ok.vnnlib --format json; expect_rc 2 'json error'
expect_out '"verdict": "error"'; expect_out '"error": ".*nosuch.onnx'
run verify nosuch.onnx ok.vnnlib --format vnncomp --output result.txt; expect_rc 2 'vnncomp error'
[ "$(cat result.txt)" = error ] || fail "result.txt: $(cat result.txt)"
finish
