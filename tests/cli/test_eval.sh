#!/usr/bin/env bash
# Accuracy on a data set: outcomes that are known, records that a later run goes on from, bad input.
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
printf '0.2,0.8\n0.8,0.2\n0.45,0.55\n0.9,0.1\n' >x.csv
printf '1\n0\n1\n1\n' >y.csv
evaluate() { run eval two.onnx --data x.csv --labels y.csv "$@"; }
evaluate --epsilon 0.1 --records r.csv; expect_rc 0 eval
expect_out '^natural +75.00 %  \(3 of 4'; expect_out 'verified +50.00 %'; expect_out '^refuted: 1, open: 0'
expect_out '^class 1: 3 samples, natural 66.67 %'
[ "$(cut -d, -f1-3 r.csv | tail -n 4 | tr '\n' ' ')" = '0,1,ibp 1,0,ibp 2,1,attacked 3,1,wrong ' ] || fail "records: $(cat r.csv)"
evaluate --epsilon 0.1 --format json; expect_out '"attacked"'; expect_out '"outcomes"'; expect_out '"low95"'

# A torn line is dropped, a lost one run again, the rest taken over.
cp r.csv whole.csv
head -n 4 whole.csv >r.csv; printf '2,1,att' >>r.csv
evaluate --epsilon 0.1 --records r.csv; expect_rc 0 resumed; expect_err '2 samples are in the records'
[ "$(cut -d, -f1-3 r.csv)" = "$(cut -d, -f1-3 whole.csv)" ] || fail "resumed records: $(cat r.csv)"
evaluate --epsilon 0.1 --first 2 --count 1; expect_out '^samples: 1 of 1'

# The samples that training held back: half of four, chosen by the seed.
evaluate --epsilon 0.1 --part validation --validation 0.5 --seed 3 --records v.csv; expect_rc 0 validation; expect_out '^samples: 2 of 2'
seen=$(cut -d, -f2 v.csv | tail -n 2 | sort | tr -d '\n')
evaluate --epsilon 0.1 --part train; expect_out '^samples: 4 of 4'
case $seen in 01 | 11) ;; *) fail "labels of the validation part: $seen" ;; esac
evaluate --epsilon 0.1 --part validation --validation 0.5 --seed 4 --records v.csv; expect_refusal 1 'another network, radius'
evaluate --epsilon 0.1 --part validation; expect_refusal 1 'a share of 0.1 of 4 samples is none'

# Refusals.
evaluate; expect_refusal 1 'epsilon'
evaluate --epsilon 0.2 --records r.csv; expect_refusal 1 'another network, radius'
sed -i 's/,ibp,/,sure,/' r.csv; evaluate --epsilon 0.1 --records r.csv; expect_refusal 2 'r.csv:3: not a record'
evaluate --epsilon 0.1 --first 4; expect_refusal 1 'there are 4 samples'
evaluate --epsilon 0.1 --engine nonsense; expect_refusal 1 'unknown name'
printf '1\n0\n1\n7\n' >bad.csv
run eval two.onnx --data x.csv --labels bad.csv --epsilon 0.1; expect_refusal 2 'label 7'
printf '1,2,3\n4,5,6\n7,8,9\n1,1,1\n' >wide.csv
run eval two.onnx --data wide.csv --labels y.csv --epsilon 0.1; expect_refusal 2 '3 values, the network takes 2'
run eval two.onnx --data x.csv --labels y.csv --epsilon 0.1 --records no/such/r.csv; expect_refusal 2 'no/such/r.csv'
finish
