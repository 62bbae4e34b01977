#!/usr/bin/env bash
# mutations.sh FOLDER: every line of tests/mutation/mutations.txt still finds its text, exactly once (scripts/mutation.sh runs them).
set -u
cd "$1" || exit 1
rc=0
while IFS='|' read -r file find replace tests; do
  case $file in '' | \#*) continue ;; esac
  n=$(grep -cF -- "$find" "$file")
  [ "$n" = 1 ] && [ -n "$tests" ] && [ "$find" != "$replace" ] && continue
  echo "$file: occurs $n times: $find"
  rc=1
done <tests/mutation/mutations.txt
exit $rc
