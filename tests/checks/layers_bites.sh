#!/usr/bin/env bash
# The layer check must refuse an upward include and a third-party header in the wrong file.
set -eu
cmake=$1 src=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/kernels" "$tmp/verifier"
check() { "$cmake" -DSOURCE="$tmp" -P "$src/scripts/checks/layers.cmake" >"$tmp/log" 2>&1; }
echo '#include "kernels/b.h"' >"$tmp/verifier/a.c"
check || { echo "refused a clean tree"; exit 1; }
echo '#include "verifier/a.h"' >"$tmp/kernels/a.c"
if check; then echo "missed an upward include"; exit 1; fi
grep -q 'kernels/a.c: includes verifier/a.h' "$tmp/log"
rm "$tmp/kernels/a.c"
mkdir "$tmp/checker"
echo '#include "kernels/b.h"' >"$tmp/checker/a.c"
if check; then echo "missed an include of a layer in the checker"; exit 1; fi
echo '#include "checker/check.h"' >"$tmp/checker/a.c"
check || { echo "refused the checker's own header"; exit 1; }
echo '#include <jansson.h>' >"$tmp/kernels/a.c"
if check; then echo "missed a third-party header in the wrong file"; exit 1; fi
