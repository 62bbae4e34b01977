#!/usr/bin/env bash
# Proves a folder of benchmarks with certificates and has every certificate checked.
usage() {
  cat <<'END'
usage: benchmarks/certify.sh DIR [options]
  DIR               one benchmark folder in VNN-COMP's layout (instances.csv, onnx/, vnnlib/)
  --match TEXT      only lines of instances.csv that contain TEXT
  --every N         only every N-th of them
  --timeout-cap S   no instance gets more than S seconds
  --compare         solve each instance without a certificate first, to see what recording costs
  --semantics NAME  real (default) or float32
  --out FILE        rows, appended to (default certify.csv)
  --build DIR       where epsproof and epsproof-check are (default build/release beside this script's folder)
Columns: onnx,vnnlib,verdict,seconds,cpu,plain_verdict,plain_seconds,plain_cpu,bytes,answer,check_cpu
Ends with the counts and the sums of CPU seconds over instances proved both ways. Exit code: 0 when every unsat was ACCEPTED, 1 otherwise, 2 for usage.
END
}
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
dir='' match='' every=1 cap='' compare=0 semantics=real out=certify.csv build=$here/build/release
die() { echo "certify.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) usage; exit 0 ;;
    --compare) compare=1; shift; continue ;;
    --*) [ $# -ge 2 ] || die "$1 needs a value (see --help)" ;;
  esac
  case $1 in
    --match) match=$2; shift 2 ;;
    --every) every=$2; shift 2 ;;
    --timeout-cap) cap=$2; shift 2 ;;
    --semantics) semantics=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --build) build=$2; shift 2 ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) [ -z "$dir" ] || die "one folder only (see --help)"; dir=$1; shift ;;
  esac
done
[ -n "$dir" ] || { usage >&2; exit 2; }
[ -f "$dir/instances.csv" ] || die "$dir: no instances.csv there"
[ -x "$build/epsproof" ] && [ -x "$build/epsproof-check" ] || die "$build: no programs there (build first, or --build)"
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
solve() { # NET PROP TIMEOUT [options]: "verdict seconds cpu"
  "$build/epsproof" verify "$1" "$2" --timeout "$3" --semantics "$semantics" "${@:4}" 2>/dev/null |
    awk 'NR == 1 { v = $1 } $1 == "seconds:" { s = $2; c = $4 } END { print v ? v : "error", s + 0, c + 0 }'
}
n=0 n_unsat=0 n_accepted=0
while IFS=, read -r onnx vnnlib timeout; do
  [[ $onnx,$vnnlib == *"$match"* ]] || continue
  n=$((n + 1))
  [ $(((n - 1) % every)) = 0 ] || continue
  timeout=${timeout%$'\r'}
  limit=${timeout%.*}
  [ -n "$cap" ] && [ "$limit" -gt "$cap" ] && limit=$cap
  plain='  '
  [ $compare = 1 ] && plain=$(solve "$dir/$onnx" "$dir/$vnnlib" "$limit")
  rm -f "$work/c"
  now=$(solve "$dir/$onnx" "$dir/$vnnlib" "$limit" --certificate "$work/c")
  bytes='' answer='' took=''
  if [ "${now%% *}" = unsat ]; then
    n_unsat=$((n_unsat + 1))
    bytes=$(stat -c %s "$work/c")
    answer=$("$build/epsproof-check" --stats "$dir/$onnx" "$dir/$vnnlib" "$work/c" 2>"$work/err" | head -n 1 | tr ',' ';')
    took=$(sed -n 's/.*seconds \([0-9.]*\)$/\1/p' "$work/err")
    [ "$answer" = ACCEPTED ] && n_accepted=$((n_accepted + 1))
  fi
  echo "$onnx,$vnnlib,${now// /,},${plain// /,},$bytes,$answer,$took" | tee -a "$out"
done <"$dir/instances.csv"
awk -F, '$3 == "unsat" && $10 == "ACCEPTED" { s += $5; c += $11; b += $9; if ($6 == "unsat") { p += $8; q += $5 } }
  END { printf "CPU: solving %.2f s, checking %.2f s (%.2f times), %.0f bytes of certificates", s, c, (s > 0 ? c / s : 0), b
        if (p > 0) printf "; recording costs %.1f %%", 100 * (q / p - 1); print "" }' "$out"
echo "$n_unsat unsat, $n_accepted accepted"
[ "$n_unsat" = "$n_accepted" ]
