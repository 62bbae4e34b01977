# Sourced: runs the tests of a build folder and adds to $passed, $failed and $skipped.
passed=${passed:-0} failed=${failed:-0} skipped=${skipped:-0}
count_ctest() { # build folder, further arguments for ctest
  local folder=$1 log=$1/ctest.log p f s
  shift
  ctest --test-dir "$folder" --output-on-failure -j "$(nproc)" "$@" 2>&1 | tee "$log" | grep -vE '^ +Start |^Test project|^$'
  p=$(grep -cE '^ *[0-9]+/[0-9]+ Test .* Passed ' "$log")
  s=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*\*\*\*Skipped ' "$log")
  f=$(grep -E '^ *[0-9]+/[0-9]+ Test ' "$log" | grep -vcE ' Passed |\*\*\*Skipped ')
  # No test at all is a failure of the build, not a success.
  [ $((p + s + f)) -gt 0 ] || f=1
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}
