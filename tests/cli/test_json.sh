#!/usr/bin/env bash
# The JSON result: stable key order, as documented; hashes of the uncompressed files; partial results.
. "$EP_SOURCE/tests/cli/lib.sh"
abs_net
gzip -k abs.onnx
property fails.vnnlib -1 1 '>= Y_0 1.5'
run verify abs.onnx.gz fails.vnnlib --format json --seed 5 --threads 1; expect_rc 10 json
keys=$(sed -n 's/^ "\([a-z_]*\)":.*/\1/p' stdout | tr '\n' ' ')
documented=$(sed -n 's/^| `\([a-z_]*\)` |.*/\1/p' "$EP_SOURCE/docs/json.md" | tr '\n' ' ')
case $documented in "$keys"*) ;; *) fail "keys '$keys' are not those of docs/json.md '$documented'" ;; esac
expect_out "\"sha256\": \"$(sha256sum <abs.onnx | cut -d' ' -f1)\""
expect_out "\"sha256\": \"$(sha256sum <fails.vnnlib | cut -d' ' -f1)\""
expect_out '"semantics": "real"'
expect_out '^ "seed": 5,$'
expect_out '^ "threads": 1,$'
expect_out '"is_float32": true'
expect_out '^  "timeout": 60.0,$'
[ "$(grep -c '"epsilon"' stdout)" = 0 ] || fail 'options of other commands are listed'
# The same run again gives the same witness.
sed -n '/"witness"/,/^ }/p' stdout >one
run verify abs.onnx.gz fails.vnnlib --format json --seed 5 --threads 2
sed -n '/"witness"/,/^ }/p' stdout >two
cmp -s one two || fail 'the witness depends on the number of threads'
run inspect abs.onnx fails.vnnlib --format json; expect_rc 0 'inspect json'; expect_out '"nonlinear_neurons": 4'
run bound abs.onnx fails.vnnlib --format json; expect_rc 0 'bound json'; expect_out '"method": "alpha-crown"'
if command -v node >/dev/null; then
  for args in "verify abs.onnx fails.vnnlib" "inspect abs.onnx fails.vnnlib" "bound abs.onnx fails.vnnlib"; do
    "$EPSPROOF" $args --format json | node -e 'JSON.parse(require("fs").readFileSync(0, "utf8"))' || fail "$args: not JSON"
  done
fi
finish
