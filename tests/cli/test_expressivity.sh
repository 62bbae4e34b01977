#!/usr/bin/env bash
# The study of what relaxations can express, in small: every cell of the table as the theory says, in exact arithmetic, the
# gap of every network for max(x, y), and its complaints about other networks.
. "$EP_SOURCE/tests/cli/lib.sh"
tool=$EP_BUILD/benchmarks/expressivity
[ -x "$tool" ] || { echo 'SKIPPED: benchmarks are not built'; exit 77; }
mkdir out
# max(x, y) as x + relu(y - x), and abs, which is not max.
encode >max.onnx <<'END'
ir_version: 7
opset_import { version: 13 }
graph {
  name: "max"
  node { input: "x" input: "W1" output: "h" op_type: "MatMul" name: "first" }
  node { input: "h" output: "r" op_type: "Relu" name: "relu" }
  node { input: "r" input: "W2" output: "y" op_type: "MatMul" name: "second" }
  initializer { name: "W1" data_type: 1 dims: 2 dims: 2 float_data: [-1, 1, 1, 0] }
  initializer { name: "W2" data_type: 1 dims: 2 dims: 1 float_data: [1, 1] }
  input { name: "x" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 2 } } } } }
  output { name: "y" type { tensor_type { elem_type: 1 shape { dim { dim_value: 1 } dim { dim_value: 1 } } } } }
}
END
abs_net
case $("$tool" out --functions 1 --boxes 1 --dims 2 2>&1) in *'this build has no'*) echo 'SKIPPED: no LP solver'; exit 77 ;; esac
"$tool" out --functions 8 --boxes 6 --dims 6 max.onnx >log 2>&1 || fail "the study contradicts the theory: $(cat log)"
grep -q '^0 unexpected results' log || fail "no summary: $(cat log)"
# 20 cells; the 15 that theory calls precise have no gap on any box, the others show one.
[ "$(grep -c '^precise,' out/table.csv)" = 20 ] || fail "cells: $(cat out/table.csv)"
[ "$(grep -c '^precise,.*,yes,48,0,0,0$' out/table.csv)" = 15 ] || fail "precise cells: $(cat out/table.csv)"
[ "$(grep -cE '^precise,.*,(no|open),48,[1-9]' out/table.csv)" = 5 ] || fail "cells with gaps: $(cat out/table.csv)"
[ "$(grep -cE '^swapped,.*,,48,[1-9]' out/table.csv)" = 8 ] || fail "swapped encodings: $(cat out/table.csv)"
grep -qE '^triangle,6,256,1536,0,0,0$' out/turns.csv || fail "triangles and directions: $(cat out/turns.csv)"
[ "$(wc -l <out/gaps.csv)" = $((28 * 48 + 1)) ] || fail "gaps.csv has $(wc -l <out/gaps.csv) lines"
# Every network for max has its box, the one from a file included; joint hulls are exact there.
[ "$(wc -l <out/maximum.csv)" = 12 ] || fail "networks for max: $(cat out/maximum.csv)"
awk -F, 'NR > 1 { split($8, t, "/"); split($9, m, "/"); if (!(t[1] / (t[2] ? t[2] : 1) > m[1] / (m[2] ? m[2] : 1)) || $10 != $9) exit 1 }' \
  out/maximum.csv || fail "a network without a gap: $(cat out/maximum.csv)"
grep -q '^max.onnx,2,1,0,1,0,1,3/2,1,1,' out/maximum.csv || fail "the network from a file: $(cat out/maximum.csv)"
# 2^(d-1) leaves, layer by layer, or d; 6 d - 4 constraints.
awk -F, 'NR > 1 && ($7 != 2 ^ ($1 - 1) || $8 != $1 || $5 != 6 * $1 - 4 || $10 != 1) { exit 1 }' out/dimension.csv ||
  fail "max over [0,1]^d: $(cat out/dimension.csv)"
for svg in table turns dimension; do grep -q '</svg>' out/$svg.svg || fail "$svg.svg is incomplete"; done

"$tool" out --functions 1 --boxes 1 --dims 2 abs.onnx >log 2>&1 && fail 'a network that is not max is accepted'
grep -q 'is not max(x, y)' log || fail "no complaint about abs: $(cat log)"
"$tool" out --functions 1 --boxes 1 --dims 2 nosuch.onnx >log 2>&1; [ $? = 2 ] || fail "missing file: $(cat log)"
"$tool" out --boxes x >log 2>&1; [ $? = 1 ] || fail "bad option: $(cat log)"
"$tool" nosuch/dir --functions 1 >log 2>&1; [ $? = 1 ] || fail "missing folder: $(cat log)"
finish
