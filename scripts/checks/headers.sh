#!/usr/bin/env bash
# headers.sh CC SOURCE GEN: every header compiles alone and carries the guard named after its path. Templates
# (*_impl.h), which are included several times on purpose, are excepted.
set -u
cc=$1 src=$2 gen=$3
cd "$src" || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0 bad=0
for h in kernels/*.h models/*.h models/ops/*.h models/train/*.h bounds/*.h encoders/*.h verifier/*.h checker/*.h; do
  [ -f "$h" ] || continue
  case $h in *_impl.h) continue ;; esac
  n=$((n + 1))
  guard=EP_$(echo "${h%.h}" | tr 'a-z/-' 'A-Z__')_H
  grep -q "^#ifndef $guard\$" "$h" || { echo "$h: no guard $guard"; bad=$((bad + 1)); }
  echo "#include \"$h\"" >"$tmp/one.c"
  "$cc" -std=c11 -D_GNU_SOURCE -I. -isystem "$gen" -Wall -Wextra -Werror -fsyntax-only "$tmp/one.c" ||
    { echo "$h: does not compile alone"; bad=$((bad + 1)); }
done
echo "$n headers, $bad bad"
[ "$n" -gt 0 ] && [ "$bad" = 0 ]
