#!/usr/bin/env bash
# docs.sh SOURCE PROGRAM: the man page and the completion are what the program makes of its tables, docs/usage.md has every
# command, option and engine, docs/json.md every key, and the files that README, ARCHITECTURE and CONTRIBUTING name exist.
set -u
cd "$1" || exit 1
program=$2 bad=0
complain() { echo "$*"; bad=1; }
"$program" help man | cmp -s - docs/epsproof.1 || complain "docs/epsproof.1 is stale: epsproof help man >docs/epsproof.1"
"$program" help completion | cmp -s - docs/epsproof.bash-completion ||
  complain "docs/epsproof.bash-completion is stale: epsproof help completion >docs/epsproof.bash-completion"
for flag in $(sed -n 's/^EP_OPT([a-z_0-9]*, "\([^"]*\)".*/\1/p' verifier/options.def); do
  grep -q -- "--$flag\b" docs/usage.md || complain "docs/usage.md: no --$flag"
done
for name in $(sed -n 's/^EP_\(COMMAND\|ENGINE\)([a-z_]*, "\([^"]*\)".*/\2/p' verifier/commands.def verifier/engines.def); do
  grep -q "\`$name" docs/usage.md || complain "docs/usage.md: no \`$name\`"
done
for key in $(grep -oE 'json_object_set_new\([a-z]+, "[a-z_0-9]+"' verifier/json_out.c | sed 's/.*"\(.*\)"/\1/' | sort -u) \
  $(grep -oE '"[a-z_0-9]+", ' verifier/json_out.c | tr -d '", ' | sort -u); do
  grep -q "\`$key\`" docs/json.md || complain "docs/json.md: no \`$key\`"
done
for doc in README.md ARCHITECTURE.md CONTRIBUTING.md; do
  for path in $(grep -oE '`[a-zA-Z_./{},*-]+/[a-zA-Z_.{},*-]*`' "$doc" | tr -d '`' | sort -u); do
    case $path in build/*|checks/*|_*|vnncomp/|*.md/|http*|n/a|-*|*XYZ*|*xyz*|NET*) continue ;; esac
    eval "set -- $path" # braces and stars as a shell would read them
    for one in "$@"; do [ -e "$one" ] || complain "$doc names $one, which does not exist"; done
  done
done
[ "$bad" = 0 ]
