#!/usr/bin/env bash
# Robustness queries from options, on a classifier whose two scores are its two inputs: the label wins by x_1 - x_0.
. "$EP_SOURCE/tests/cli/lib.sh"
encode >two.onnx <<'END'
ir_version: 7
opset_import { version: 13 }
graph {
  name: "two"
  node { input: "x" input: "W" output: "h" op_type: "MatMul" name: "scores" }
  node { input: "h" output: "y" op_type: "Relu" name: "relu" }
  initializer { name: "W" data_type: 1 dims: 2 dims: 2 float_data: [1, 0, 0, 1] }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
}
END
echo '0.25,0.75' >image.csv
robust() { run robust two.onnx --image image.csv "$@"; }
robust --epsilon 0.24; expect_rc 20 'radius below the margin'; expect_first unsat 'small ball'
robust --epsilon 0.26; expect_rc 10 'radius above the margin'; expect_first sat 'large ball'
robust --epsilon 0.25 --timeout 1; [ "$first" != unsat ] || fail 'a tie is a violation, this is not robust'
robust --epsilon 0.24 --label 1; expect_rc 20 'label given'
robust --epsilon 0.24 --label 0; expect_rc 10 'another label: violated at once'
robust --epsilon 0.26 --label 1 --target 0; expect_rc 10 'targeted'
robust --epsilon 5 --clip 0.75,0.75; expect_rc 1 'outside the valid range'
robust --epsilon 0.9 --clip 0.2,1 --mean 0 --std 1; expect_rc 10 'clipped, still large'
# (v - mean) / std with std 2 shrinks scores and radius alike.
robust --epsilon 0.24 --mean 0.1 --std 2; expect_rc 20 'normalised'
robust --epsilon 0.26 --mean 0.1 --std 2; expect_rc 10 'normalised'

# Certificates: what was asked goes beside it as VNN-LIB; into a folder, a file for every entry.
check() { # pattern, what; arguments of epsproof-check follow
  "$EPSPROOF_CHECK" "${@:3}" >answer 2>&1
  grep -qE -- "$1" answer || fail "$2: epsproof-check says '$(cat answer)', expected '$1'"
}
robust --epsilon 0.24 --mean 0.1 --std 3 --certificate proof
expect_rc 20 'with a certificate'
expect_out '^certificate: proof \([0-9]+ bytes\)$'
check '^ACCEPTED$' 'certificate of robust' two.onnx proof.vnnlib proof
run verify two.onnx proof.vnnlib; expect_rc 20 'the claim as a property'
sed 's/<= Y_1 Y_0/<= Y_0 Y_1/' proof.vnnlib >other.vnnlib
check '^REJECTED: the certificate is about another property$' 'another claim' two.onnx other.vnnlib proof
mkdir folder
robust --epsilon 0.24 --certificate folder
check '^ACCEPTED$' 'certificate in a folder' two.onnx folder/robust_0.cert.vnnlib folder/robust_0.cert
robust --epsilon 0.26 --certificate none; expect_rc 10 'violated'
[ ! -e none ] && [ ! -e none.vnnlib ] || fail 'a certificate without a proof'

# Raw bytes in an IDX file: entry 1 of two, label file beside it.
printf '\0\0\010\2\0\0\0\2\0\0\0\2\377\0\0\377' >images.idx
printf '\0\0\010\1\0\0\0\2\0\1' >labels.idx
gzip -k images.idx
run robust two.onnx --image images.idx --labels labels.idx --index 1 --scale 255 --epsilon 0.49; expect_rc 20 idx
run robust two.onnx --image images.idx.gz --labels labels.idx --index 1 --scale 255 --epsilon 0.51 --clip 0,1; expect_rc 10 'idx.gz'
run robust two.onnx --image images.idx --labels labels.idx --index 0 --scale 255 --epsilon 0.49; expect_rc 20 'entry 0'
run robust two.onnx --image images.idx --labels labels.idx --index 1 --scale 255 --epsilon 0.51 --format json; expect_rc 10 json
expect_out '"command": "robust"'; expect_out '"description": ".*images.idx'; expect_out '"epsilon": 0.51'
run robust two.onnx --image images.idx --labels labels.idx --index 1 --scale 255 --epsilon 0.51 --witness cex.npy
expect_rc 10 witness; [ "$(head -c 6 cex.npy | tail -c 5)" = NUMPY ] || fail 'no .npy witness'

# A picture of the counterexample, in pixels whatever the normalisation.
robust --epsilon 0.26 --clip 0,1 --mean 0.1 --std 2 --picture cex.png; expect_rc 10 picture
[ "$(head -c 4 cex.png | tail -c 3)" = PNG ] || fail 'no picture'
robust --epsilon 0.24 --picture none.png; [ ! -e none.png ] || fail 'a picture without a counterexample'
robust --epsilon 0.26 --picture no/such.png; expect_refusal 2 'no/such.png'
run robust two.onnx --image images.idx --labels labels.idx --index 1 --epsilon 200 --picture cex.png; expect_rc 1 'pixels above 1'
expect_err 'pictures need \[0,1\]'

# Refusals.
run robust two.onnx --epsilon 0.1; expect_refusal 1 'image'
robust; expect_refusal 1 'epsilon'
robust --epsilon -0.5; expect_refusal 1 'epsilon'
robust --epsilon 0.1 --norm l2; expect_refusal 1 'linf'
robust --epsilon 0.1 --clip 1; expect_refusal 1 'clip'
robust --epsilon 0.1 --mean 1,2,3; expect_refusal 1 'channels'
robust --epsilon 0.1 --std 0; expect_refusal 1 'std'
robust --epsilon 0.1 --label 7; expect_refusal 1 'label 7'
robust --epsilon 0.1 --label 1 --target 1; expect_refusal 1 'target'
run robust two.onnx --image nosuch.idx --epsilon 0.1; expect_refusal 2 'nosuch.idx'
run robust two.onnx --image images.idx --index 9 --epsilon 0.1; expect_refusal 1 'images.idx: entry 9 of 2'
head -c 14 images.idx >short.idx
run robust two.onnx --image short.idx --index 1 --epsilon 0.1; expect_refusal 2 'short.idx'
echo '1,2,3' >three.csv
run robust two.onnx --image three.csv --epsilon 0.1; expect_refusal 2 'three.csv'
finish
