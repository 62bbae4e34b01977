#!/usr/bin/env bash
# Mutation proof: breaks the trusted path on purpose, one line at a time, in a copy of the committed tree, and checks that the
# tests notice. The list is tests/mutation/mutations.txt. Takes a few minutes; ends with "N passed, N failed" (passed =
# the mutation was caught).
# usage: scripts/mutation.sh [WORD]   only mutations whose line contains WORD
set -u
here=$(cd "$(dirname "$0")/.." && pwd)
only=${1:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$here" archive HEAD | tar -x -C "$work" || exit 1
cmake -S "$work" -B "$work/b" -G Ninja -DCMAKE_BUILD_TYPE=Release >"$work/log" 2>&1 && ninja -C "$work/b" >>"$work/log" 2>&1 ||
  { tail -n 20 "$work/log"; exit 1; }
# Only what the tests in question run is built again: a test's own program, or the programs behind the command line.
targets_of() {
  ctest --test-dir "$work/b" -N -R "$1" | sed -n 's/^ *Test *#[0-9]*: //p' |
    sed 's|^cli/.*|epsproof epsproof-check differential|; s|/|_|' | tr '\n' ' '
}
caught=0 survived=0
while IFS='|' read -r file find replace tests; do
  case $file in ''|\#*) continue ;; esac
  case "$file$find" in *"$only"*) ;; *) continue ;; esac
  cp "$work/$file" "$work/original"
  if [ "$(grep -cF -- "$find" "$work/$file")" != 1 ]; then
    echo "STALE     $file: '$find' does not occur exactly once"
    survived=$((survived + 1))
    continue
  fi
  FIND=$find REPLACE=$replace perl -0pi -e 's/\Q$ENV{FIND}\E/$ENV{REPLACE}/' "$work/$file"
  # A mutation that no longer compiles is as good as caught, but says so.
  # shellcheck disable=SC2046
  if ! ninja -C "$work/b" $(targets_of "$tests") >"$work/log" 2>&1; then
    echo "caught    $file: $replace (does not compile)"
    caught=$((caught + 1))
  elif (cd "$work/b" && timeout 300 ctest -R "$tests" --no-tests=error >"$work/log" 2>&1); then
    echo "SURVIVED  $file: $replace"
    survived=$((survived + 1))
  else
    echo "caught    $file: $replace"
    caught=$((caught + 1))
  fi
  cp "$work/original" "$work/$file"
  touch "$work/$file"
done <"$work/tests/mutation/mutations.txt"
echo "$caught passed, $survived failed"
[ "$survived" = 0 ]
