#!/usr/bin/env bash
# Engines whose solver was left out of the build say so in one line and end with exit code 2; the others work. EP_HAS
# names the back ends of this build.
. "$EP_SOURCE/tests/cli/lib.sh"
abs_net; property holds.vnnlib -1 1 '>= Y_0 2.5'
while read -r engine be package; do
  run verify abs.onnx holds.vnnlib --engine "$engine"
  case " $EP_HAS " in
    *" $be "*)
      if [ "$engine" = sat ]; then expect_refusal 2 'not part of a binarised network'
      else expect_rc 20 "engine $engine"; fi ;;
    *) expect_refusal 2 "this build has no $be \(install $package, configure with -DEP_WITH_${be^^}=ON\)" ;;
  esac
done <<'END'
smt z3 libz3-dev
lp glpk libglpk-dev
milp glpk libglpk-dev
sat picosat picosat
END
# What needs no solver works in any build.
for engine in auto bab input-split; do
  run verify abs.onnx holds.vnnlib --engine $engine; expect_rc 20 "engine $engine"
done
finish
