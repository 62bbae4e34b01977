#!/usr/bin/env bash
# options.sh SOURCE: every option of options.def is read somewhere as cfg->id or cfg.id, outside the option table itself.
set -u
cd "$1" || exit 1
n=0 bad=0
for id in $(sed -n 's/^EP_OPT(\([a-z_0-9]*\),.*/\1/p' verifier/options.def); do
  n=$((n + 1))
  grep -qE "cfg(->|\.)$id\b" $(ls verifier/*.c | grep -v '/config\.c$') || { echo "option $id is never read"; bad=$((bad + 1)); }
done
echo "$n options, $bad never read"
[ "$n" -gt 0 ] && [ "$bad" = 0 ]
