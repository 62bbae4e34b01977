#!/usr/bin/env bash
# Exported encodings against the engines: N random samples (differential --dump), each encoded as SMT-LIB, CPLEX LP and free
# MPS and solved by z3 and glpsol, binarised ones also as clauses solved by picosat. A sample whose strict rows were relaxed in LP and MPS may be feasible there although it
# is unsat; such are counted, not failed. Ends with "N samples, N differ".
# usage: benchmarks/differential/exports.sh BUILD_DIR [N] [SEED]
set -u
build=${1:?usage: exports.sh BUILD_DIR [N] [SEED]} n=${2:-200} seed=${3:-1}
for tool in z3 glpsol; do
  command -v $tool >/dev/null || { echo "$tool is missing (apt-get install z3 glpk-utils)"; exit 77; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$build/benchmarks/differential" --count "$n" --seed "$seed" --timeout 2 --engines milp,smt --dump "$work" --out "$work" >"$work/log" ||
  { cat "$work/log"; exit 1; }
n_done=0 n_bad=0 n_touching=0 n_clauses=0
says() { # option file
  glpsol "$1" "$2" --tmlim 20 >"$work/out" 2>&1
  if grep -qE 'NO (PRIMAL|INTEGER) FEASIBLE' "$work/out"; then echo unsat
  elif grep -qE 'OPTIMAL (LP )?SOLUTION FOUND' "$work/out"; then echo sat
  else tail -n 2 "$work/out" | tr '\n' ' '; fi
}
for net in "$work"/*.onnx; do
  stem=${net%.onnx} truth=$(basename "$net")
  truth=${truth%%_*}
  for format in smt2 lp mps; do
    "$build/epsproof" encode "$net" "$stem.vnnlib" --to $format -o "$work/e.$format" 2>"$work/err" ||
      { echo "$(basename "$stem"): no $format: $(cat "$work/err")"; n_bad=$((n_bad + 1)); continue; }
    is_relaxed=$(grep -c 'became non-strict' "$work/err")
    case $format in
      smt2) got=$(z3 -T:20 "$work/e.smt2") ;;
      lp) got=$(says --lp "$work/e.lp") ;;
      mps) got=$(says --freemps "$work/e.mps") ;;
    esac
    [ "$got" = "$truth" ] && continue
    if [ "$truth $got $is_relaxed" = 'unsat sat 1' ]; then n_touching=$((n_touching + 1)); continue; fi
    echo "$(basename "$stem"): $format says '$got', the engines $truth"
    cp "$stem.onnx" "$stem.vnnlib" . 2>/dev/null
    n_bad=$((n_bad + 1))
  done
  n_done=$((n_done + 1))
  # Binarised ones as clauses; others are refused.
  command -v picosat >/dev/null && "$build/epsproof" encode "$net" "$stem.vnnlib" --to cnf -o "$work/e.cnf" 2>/dev/null || continue
  case $(timeout 60 picosat -n "$work/e.cnf" | head -n 1) in
    's SATISFIABLE') got=sat ;; 's UNSATISFIABLE') got=unsat ;; *) got='nothing' ;;
  esac
  n_clauses=$((n_clauses + 1))
  [ "$got" = "$truth" ] && continue
  echo "$(basename "$stem"): picosat says $got, the engines $truth"
  n_bad=$((n_bad + 1))
done
echo "$n_clauses of them as clauses, solved by picosat"
[ "$n_touching" = 0 ] || echo "$n_touching unsat files are feasible only because strict rows were relaxed"
echo "$n_done samples, $n_bad differ"
[ "$n_bad" = 0 ]
