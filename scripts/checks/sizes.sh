#!/usr/bin/env bash
# sizes.sh SOURCE: hard limits of the house style: 1200 lines a file, 100 lines a function, README 120 lines.
# (Columns are clang-format's business.)
set -u
cd "$1" || exit 1
files=$(find kernels models bounds encoders verifier checker examples benchmarks tests -name '*.[ch]' 2>/dev/null | sort)
[ -n "$files" ] || exit 1
found=$({ awk '
  FNR == 1 { if (lines > 1200) print name ": " lines " lines"; name = FILENAME; in_function = 0 }
  { lines = FNR }
  # LLVM layout: a function opens with a line that ends in "{" in column 1 text and closes with "}" alone.
  /^[A-Za-z].*\{$/ && !/^(typedef|struct|enum|union|static const [a-z_ ]*\[|const [a-z_ ]*\[)/ { start = FNR; in_function = 1 }
  /^\}/ { if (in_function && FNR - start > 100) print FILENAME ":" start ": function of " FNR - start " lines"; in_function = 0 }
  END { if (lines > 1200) print name ": " lines " lines" }' $files
# A reviewer shall be able to read the checker of certificates in an hour (blank lines and comments not counted).
[ ! -d checker ] || [ "$(cat checker/*.[ch] | grep -vcE '^[[:space:]]*($|/?\*)')" -le 2000 ] || echo "checker/: more than 2000 lines of code"
[ ! -f README.md ] || [ "$(wc -l <README.md)" -le 120 ] || echo "README.md: more than 120 lines"; })
printf '%s\n' "$found"
[ -z "$found" ]
