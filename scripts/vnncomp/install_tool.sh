#!/usr/bin/env bash
# VNN-COMP: install_tool.sh v1. Installs packages and builds the program into build/release.
set -eu
[ "${1-}" = v1 ] || { echo "install_tool.sh: expected version v1, got '${1-}'" >&2; exit 1; }
root=$(cd "$(dirname "$0")/../.." && pwd)
"$root/scripts/install-deps.sh"
cmake -S "$root" -B "$root/build/release" -G Ninja -DCMAKE_BUILD_TYPE=Release -DEP_BUILD_TESTS=OFF
cmake --build "$root/build/release"
