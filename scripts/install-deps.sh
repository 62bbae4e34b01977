#!/usr/bin/env bash
# Installs the Debian packages that the build (and, by default, the tests) need. Does nothing, and asks the network for
# nothing, when all are there.
# usage: scripts/install-deps.sh [--build-only | --all]     --all adds what .ci/run needs
set -eu
groups='build test'
case ${1-} in
  '') ;;
  --build-only) groups=build ;;
  --all) groups='build test check' ;;
  *) echo "usage: scripts/install-deps.sh [--build-only | --all]" >&2; exit 1 ;;
esac
list=$(cd "$(dirname "$0")" && pwd)/packages.txt
command -v dpkg-query >/dev/null || { echo "install-deps.sh: this needs a Debian system; packages are listed in $list" >&2; exit 1; }
wanted=$(awk -v groups=" $groups " '!/^#/ && index(groups, " " $1 " ") { print $2 }' "$list")
have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | awk '$1 == "installed" { print $2 }' | sort -u)
missing=$(comm -23 <(printf '%s\n' $wanted | sort -u) <(printf '%s\n' $have))
[ -n "$missing" ] || exit 0
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing:" $missing
export DEBIAN_FRONTEND=noninteractive
install() { $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null; }
# The package lists may be fresh enough; only fetch them when they are not.
install 2>/dev/null || { $sudo apt-get update -qq && install; }
