#!/usr/bin/env bash
# Layer-by-layer search (DLV) around images of a data set, each next to the exact answer and the exact safe radius of
# the same features: a table as CSV, pictures of the counterexamples.
usage() {
  cat <<'END'
usage: benchmarks/dlv.sh NET.onnx IMAGES LABELS [options]
  IMAGES, LABELS    IDX files (also .gz), pixels 0..255
  --count N         first N images that the network classifies rightly (default 20)
  --features N      dimensions of a feature region (default 5)
  --by RULE         value or gradient (default gradient)
  --layers N        hidden layers after the input (default 2)
  --timeout S       per image (default 60)
  --out DIR         table.csv and pictures go there (default dlv-results)
  --binary PATH     program (default build/release/epsproof beside this script's folder)
Features vary over the whole range of pixels. Columns: index,label,features,dlv,dlv_seconds,layers,exact,exact_seconds,
safe_radius,unsafe_radius; `layers` says per layer visited+empty/points.
Exit code: 0 when every image was decided (by dlv's counterexample or exactly) without contradiction, 1 otherwise.
END
}
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
count=20 features=5 by=gradient layers=2 timeout=60 out=dlv-results binary=$here/build/release/epsproof
files=()
die() { echo "dlv.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    -h|--help) usage; exit 0 ;;
    --*) [ $# -ge 2 ] || die "$1 needs a value (see --help)" ;;
  esac
  case $1 in
    --count) count=$2; shift 2 ;;
    --features) features=$2; shift 2 ;;
    --by) by=$2; shift 2 ;;
    --layers) layers=$2; shift 2 ;;
    --timeout) timeout=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --binary) binary=$2; shift 2 ;;
    -*) die "unknown option $1 (see --help)" ;;
    *) files+=("$1"); shift ;;
  esac
done
[ ${#files[@]} = 3 ] || { usage >&2; exit 2; }
for f in "${files[@]}"; do [ -f "$f" ] || die "$f: no such file"; done
[ -x "$binary" ] || die "$binary: no such program"
mkdir -p "$out" || exit 2
net=${files[0]}
common=(--image "${files[1]}" --labels "${files[2]}" --scale 255 --clip 0,1)
csv=$out/table.csv
echo index,label,features,dlv,dlv_seconds,layers,exact,exact_seconds,safe_radius,unsafe_radius >"$csv"
done_n=0 decided=0 found=0 index=0 wrong=0
while [ $done_n -lt "$count" ]; do
  # Wrongly classified images have a counterexample at radius 0: they are skipped.
  "$binary" robust "$net" "${common[@]}" --index $index --epsilon 0 --timeout 5 >"$out/point.txt" 2>"$out/error.txt"
  rc=$?
  if [ $rc = 10 ]; then index=$((index + 1)); continue; fi
  [ $rc = 20 ] || die "image $index: $(cat "$out/error.txt")"
  "$binary" dlv "$net" "${common[@]}" --index $index --epsilon 1 --features "$features" --feature-by "$by" \
    --layers "$layers" --timeout "$timeout" --picture "$out/$index.png" >"$out/one.txt" 2>"$out/error.txt" ||
    die "image $index: $(cat "$out/error.txt")"
  label=$("$binary" robust "$net" "${common[@]}" --index $index --epsilon 0 -v --engine ibp 2>&1 |
    sed -n 's/.*, label \([0-9]*\).*/\1/p')
  dlv=$(head -n 1 "$out/one.txt")
  exact=$(sed -n 's/^exact (bab[^)]*): \([a-z]*\),.*/\1/p' "$out/one.txt")
  row=$index,$label,$(sed -n 's/^features: \([0-9 ]*\),.*/\1/p' "$out/one.txt"),$dlv
  row+=,$(sed -n 's/^dlv: \([0-9.]*\) s/\1/p' "$out/one.txt")
  row+=,$(sed -n 's/^layer.*: [0-9]* dimensions, \([0-9]*\) [a-z ]*, \([0-9]*\) inputs.*refuted, \([0-9]*\) empty.*/\2+\3\/\1/p' \
    "$out/one.txt" | tr '\n' ' ')
  row+=,$exact,$(sed -n 's/^exact.*, \([0-9.]*\) s$/\1/p' "$out/one.txt")
  row+=,$(sed -n 's/^safe radius.*at least \([0-9.e-]*\),.*/\1/p' "$out/one.txt")
  row+=,$(sed -n 's/^safe radius.*below \([0-9.e-]*\)$/\1/p' "$out/one.txt")
  echo "$row" | tee -a "$csv"
  case $exact in safe|counterexample) decided=$((decided + 1)) ;; esac
  [ "$dlv" = counterexample ] && found=$((found + 1))
  [ "$dlv $exact" = 'counterexample safe' ] && wrong=$((wrong + 1))
  done_n=$((done_n + 1)) index=$((index + 1))
done
rm -f "$out/one.txt" "$out/point.txt" "$out/error.txt"
echo "$done_n images: dlv found $found counterexamples (pictures in $out), bab decided $decided, contradictions $wrong"
[ $decided = $done_n ] && [ $wrong = 0 ]
