#!/usr/bin/env bash
# Installs packages, builds into build/release (optimised, assertions on) and runs every test.
# Ends with the line "N passed, N failed". Arguments go to ctest, e.g. scripts/test.sh -R cli/
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root" || exit 1
scripts/install-deps.sh || { echo "0 passed, 1 failed"; exit 1; }
. scripts/checks/count.sh
preset=${EP_PRESET:-release}
log=build/test-$preset.log
mkdir -p build
{ cmake --preset "$preset" && cmake --build --preset "$preset"; } >"$log" 2>&1 ||
  { grep -E 'error|FAILED|missing|apt-get' "$log" | tail -n 30 >&2; echo "test.sh: the build failed, see $log" >&2; echo "0 passed, 1 failed"; exit 1; }
count_ctest "build/$preset" "$@"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
