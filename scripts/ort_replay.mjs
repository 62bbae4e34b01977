// Replays inputs in ONNX Runtime: the second opinion on every counterexample.
//
//   node ort_replay.mjs MODEL.onnx[.gz] < lines        one JSON array of inputs per line -> one JSON array of outputs
//   node ort_replay.mjs MODEL.onnx[.gz] --witness F    F in VNN-COMP form ((X_0 v) ... (Y_0 v) ...) -> the same form with
//                                                      the runtime's own outputs
//   node ort_replay.mjs --check                        exit 0 when the runtime is there
//
// Needs the npm package onnxruntime-node: `npm install --ignore-scripts onnxruntime-node` in any folder, and
// EPSPROOF_NODE_MODULES (or NODE_PATH) = that folder/node_modules. Exit 2 with one line on bad input, 77 when the
// package is missing (tests read that as "skipped").
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { gunzipSync } from 'node:zlib';
import path from 'node:path';

let ort;
try {
  const root = process.env.EPSPROOF_NODE_MODULES ?? path.join(process.cwd(), 'node_modules');
  ort = createRequire(path.join(root, 'x.js'))('onnxruntime-node');
} catch {
  console.error('skipped: onnxruntime-node is not installed (set EPSPROOF_NODE_MODULES)');
  process.exit(77);
}

const [model, flag, file] = process.argv.slice(2);
// One line for whatever goes wrong: no such file, a model the runtime refuses, inputs of the wrong number.
const fail = (e) => {
  console.error(`ort_replay: ${model}: ${String(e.message ?? e).split('\n')[0]}`);
  process.exit(2);
};
process.on('uncaughtException', fail).on('unhandledRejection', fail);
if (model === '--check') process.exit(0);
if (!model || (flag && flag !== '--witness')) {
  console.error('usage: ort_replay.mjs MODEL [--witness FILE]');
  process.exit(1);
}
const bytes = readFileSync(model);
const session = await ort.InferenceSession.create(bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes, {
  logSeverityLevel: 3,
});
const meta = session.inputMetadata[0];

// Symbolic (and zero or negative) dimensions are one sample.
const dims = (meta.shape ?? []).map((d) => (typeof d === 'number' && d > 0 ? d : 1));
const run = async (x) => {
  const data = meta.type === 'float64' ? Float64Array.from(x) : Float32Array.from(x);
  const out = await session.run({ [session.inputNames[0]]: new ort.Tensor(meta.type, data, dims) });
  return Array.from(out[session.outputNames[0]].data);
};

if (flag) {
  const x = [];
  for (const m of readFileSync(file, 'utf8').matchAll(/\(\s*X_(\d+)\s+([^\s()]+)\s*\)/g)) x[Number(m[1])] = Number(m[2]);
  const y = await run(x);
  const terms = [...x.map((v, i) => `(X_${i} ${v})`), ...y.map((v, i) => `(Y_${i} ${v})`)];
  console.log(`(${terms.join('\n')})`);
} else {
  for (const line of readFileSync(0, 'utf8').split('\n')) {
    if (line.trim()) console.log(JSON.stringify(await run(JSON.parse(line))));
  }
}
