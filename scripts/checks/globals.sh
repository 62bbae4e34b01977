#!/usr/bin/env bash
# globals.sh LIBRARY...: no mutable globals. Excepted: the state of the signal handlers, which have no argument, and
# one-time initialisation guards. (.data.rel.ro holds constants that only the loader writes.)
set -u
table=$(objdump -t "$@") || exit 1
found=$(awk 'NF >= 5 && $(NF - 2) ~ /^\.(data|bss)/ && $(NF - 2) !~ /^\.data\.rel\.ro/ && $NF !~ /^\./ { print $NF }' <<<"$table" |
  sed 's/\.[0-9]*$//' | sort -u | grep -vE '^(signals|[a-z_]*once)$')
[ -z "$found" ] && exit 0
echo "mutable globals:" $found
exit 1
