#!/usr/bin/env bash
# From a fresh checkout to verdicts: installs packages, builds into build/release, verifies the examples.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
scripts/install-deps.sh
log=build/quickstart.log
mkdir -p build
echo "building into build/release ..."
{ cmake --preset release && cmake --build --preset release --target epsproof; } >"$log" 2>&1 ||
  { tail -n 30 "$log" >&2; echo "quickstart.sh: the build failed, see $log" >&2; exit 1; }
program=build/release/epsproof
printf '\n%-26s %-30s %-8s %-8s %s\n' network property verdict expected seconds
failed=0
while IFS=, read -r onnx vnnlib timeout; do
  [ -n "$onnx" ] && [ "$onnx" != onnx ] || continue
  timeout=${timeout%$'\r'}
  expected=$(awk -F, -v o="$onnx" -v v="$vnnlib" '
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["onnx"] == o && $at["vnnlib"] == v { print $at["truth"]; exit }' examples/truth.csv)
  answer=$("$program" verify "examples/$onnx" "examples/$vnnlib" --timeout "$timeout") || true
  verdict=${answer%%$'\n'*}
  seconds=$(sed -n 's/^seconds: \([0-9.]*\).*/\1/p' <<<"$answer")
  printf '%-26s %-30s %-8s %-8s %s\n' "$(basename "$onnx")" "$(basename "$vnnlib")" "$verdict" "$expected" "$seconds"
  [ "$verdict" = "$expected" ] || failed=$((failed + 1))
done <examples/instances.csv
# A trained network, certified for an image; one trained without care, and what fools it.
fashion=examples/fashion
ask() { # network, expected verdict, further options
  local network=$1 expected=$2 verdict
  shift 2
  verdict=$("$program" robust "$fashion/$network.onnx" --image $fashion/images.idx --labels $fashion/labels.idx --index 1 --scale 255 \
    --clip 0,1 --epsilon 0.1 "$@" | head -n 1) || true
  printf '%-26s %-30s %-8s %-8s\n' "$network.onnx" 'image 1, within 0.1' "$verdict" "$expected"
  [ "$verdict" = "$expected" ] || failed=$((failed + 1))
}
ask ibp unsat
ask natural sat --picture build/counterexample.png
first=$(awk -F, '$1 != "onnx" { print "examples/" $1, "examples/" $2; exit }' examples/instances.csv)
cat <<END

unsat: the property holds, by certified bounds. sat: a counterexample was found and replayed.
The last two ask whether any change of each pixel by up to 0.1 changes the class of a picture of a pullover: for the network that was
trained to be certifiable it is proved that none does; what fools the other one is drawn in build/counterexample.png.

What next:
  $program verify $first
  $program help                          all commands
  $program verify NET.onnx PROP.vnnlib --witness cex.txt --format json
  $program train my.onnx --method ibp --epsilon 0.1     (apt-get install dataset-fashion-mnist; see docs/training.md)
  benchmarks/vnncomp.sh DIR              a folder of benchmarks in VNN-COMP's layout
END
[ "$failed" = 0 ] || { echo "quickstart.sh: $failed verdicts are not as expected" >&2; exit 1; }
