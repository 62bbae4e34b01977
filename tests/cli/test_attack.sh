#!/usr/bin/env bash
# Attacks on a data set from the command line: what is found, records, pictures, bad input.
. "$EP_SOURCE/tests/cli/lib.sh"
encode >two.onnx <<'END'
ir_version: 7
opset_import { version: 13 }
graph {
  name: "two"
  node { input: "x" input: "W" output: "y" op_type: "MatMul" name: "scores" }
  initializer { name: "W" data_type: 1 dims: 4 dims: 2 float_data: [1, 0, 1, 0, 0, 1, 0, 1] }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 4 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
}
END
# Margins 0.4, 1.2 and (wrong) -0.4 over four pixels: linf distances 0.1, 0.3.
printf '0.5,0.5,0.3,0.3\n0.1,0.1,0.7,0.7\n0.5,0.5,0.3,0.3\n' >x.csv
printf '0\n1\n1\n' >y.csv
attack() { run attack two.onnx --data x.csv --labels y.csv "$@"; }
attack --method pgd --epsilon 0.2 --records r.csv --out pics; expect_rc 0 pgd
expect_out 'classified rightly 2'; expect_out '^found: 1 '
[ "$(cut -d, -f1-5 r.csv | tail -n 3 | tr '\n' ' ')" = '0,0,0,1,1 1,1,1,0,1 2,1,0,0,0 ' ] || fail "records: $(cat r.csv)"
[ "$(head -c 4 pics/pgd_0.png | tail -c 3)" = PNG ] && [ -s pics/pgd_sheet.png ] || fail 'no pictures'
[ ! -e pics/pgd_1.png ] || fail 'a picture of what was not found'
attack --method deepfool; expect_out '^found: 2 '; expect_out 'linf: mean 0.20'
attack --method fgsm --format json; expect_out '"found": 2'
for method in apgd-ce apgd-dlr apgd-t ddn fab; do attack --method $method --epsilon 0.35; expect_rc 0 $method; expect_out '^found: 2 '; done

attack --method fab --format json; expect_out '"found": 2, .*"mean_linf": 0.20'
attack --method deepfool --own-class; expect_out '^found: 3 .*whose class was attacked'
# Radius 0.1 for one of three besides the misclassified one, 0.3 for all.
attack --method fgsm --fool 0.6; expect_rc 0 fool
[ "$(awk '/^epsilon: / { print ($2 >= 0.1 && $2 < 0.102) }' stdout)" = 1 ] || fail "--fool 0.6: $out"
attack --method pgd --fool 1; [ "$(awk '/^epsilon: / { print ($2 >= 0.3 && $2 < 0.304) }' stdout)" = 1 ] || fail "--fool 1: $out"
attack --method pgd --epsilon 0.05 --restarts 2 --budget 7; expect_out '^gradients per sample: 6.0$'
# Points are a data set of their own: what was found is misclassified there, and twice as far when magnified.
attack --method deepfool --points p.npy; expect_rc 0 points
run attack two.onnx --data p.npy --labels p.labels.npy --method fgsm; expect_out 'samples: 3, classified rightly 0 '
attack --method deepfool --points q.npy --magnify 2
[ "$(wc -c <q.npy)" = $((128 + 48)) ] && ! cmp -s p.npy q.npy || fail 'magnified points are no other points'

# Distances: margins over four, proved on one side and refuted on the other.
distance() { run distance two.onnx --data x.csv --labels y.csv --restarts 2 --steps 20 "$@"; }
distance --records d.csv; expect_rc 0 distance; expect_out '^samples: 3, classified rightly 2, distance bracketed for 2, of these to 0.1 % for 2$'
awk -F, 'NR == 2 { ok = $3 <= 0.1 && $4 >= 0.1 - 1e-7 && $4 - $3 < 1e-3 } NR == 3 { ok = ok && $3 <= 0.3 && $4 >= 0.3 - 1e-7 && $4 - $3 < 1e-3 }
  END { exit !(ok && NR == 3) }' d.csv || fail "distances: $(cat d.csv)"
expect_out '^fab  *2  *0.2000'
distance --method deepfool,pgd --format json; expect_out '"attacks": \[{"attack": "deepfool", "found": 2.*"attack": "pgd"'
distance --method fab --progress on; expect_rc 0 progress; expect_err '1 of 3 samples'
distance --method nonsense; expect_refusal 1 'unknown attack'
distance --norm l2; expect_refusal 1 'linf only'
distance --engine nonsense; expect_refusal 1 'engine'
distance --records no/such/file; expect_refusal 2 'no/such/file'

attack --method jsma; expect_rc 0 jsma; expect_out '^found: 0 ' # no pixel lowers the other score: no saliency

# One linear layer loses nothing; a network that ends with an activation has no margins to merge.
run tightness two.onnx --data x.csv --labels y.csv; expect_rc 0 tightness; expect_out '^local tightness: mean 1,'
run tightness two.onnx --data x.csv --labels y.csv --first 3; expect_refusal 1 'there are 3'

# Refusals.
attack --method pgd; expect_refusal 1 'needs --epsilon'
attack --method nonsense --epsilon 0.1; expect_refusal 1 'unknown attack'
attack --method pgd --epsilon 0.1 --unclipped --out pics; expect_refusal 1 'no pictures'
attack --method pgd --epsilon 0.1 --picture p.png; expect_refusal 1 'out DIR'
attack --method pgd --epsilon 0.1 --fool 0.5; expect_refusal 1 'instead of --epsilon'
attack --method deepfool --fool 0.5; expect_refusal 1 'within a ball'
attack --method deepfool --points p.csv; expect_refusal 1 'does not end in .npy'
attack --method deepfool --points no/such.npy; expect_refusal 2 'no/such.npy'
attack --method pgd --epsilon 0.1 --first 3; expect_refusal 1 'there are 3'
attack --method pgd --epsilon 0.2 --out r.csv/x; expect_refusal 2 'r.csv/x'
run robust two.onnx --image x.csv --epsilon 0.1 --norm l2; expect_refusal 1 'linf only'
finish
