#!/usr/bin/env bash
# cmake --install gives a program that runs, its man page and its completion.
. "$EP_SOURCE/tests/cli/lib.sh"
cmake --install "$EP_BUILD" --prefix "$work/prefix" >log 2>&1 || fail "install: $(cat log)"
"$work/prefix/bin/epsproof" -V | grep -q '^epsproof ' || fail 'the installed program does not run'
[ -f prefix/share/man/man1/epsproof.1 ] || fail 'no man page'
[ -f prefix/share/bash-completion/completions/epsproof ] || fail 'no completion'
if command -v man >/dev/null; then
  man -l --warnings prefix/share/man/man1/epsproof.1 >page 2>warnings || fail 'the man page does not render'
  [ ! -s warnings ] || fail "man page: $(cat warnings)"
  grep -q EXIT page || fail 'the man page is cut short'
fi
finish
