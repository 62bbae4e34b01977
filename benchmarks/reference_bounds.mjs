// Compares certified bounds with published ones of another tool, case by case.
//
//   node benchmarks/reference_bounds.mjs REFERENCE.json NET.onnx [EPSPROOF]
//
// REFERENCE.json: { cases: [ { x_L, x_U, bounds: { METHOD: { lower, upper } }, seconds: { METHOD: s } } ] }. For each of the
// pairs below it prints the mean width of the outputs, theirs and ours, how many of our bounds are looser by more than float32
// rounding, and the seconds. Exit code 1 when one is looser. Needs node, no packages.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const pairs = [['IBP', 'ibp', 20], ['CROWN', 'crown', 20], ['aCROWN_20_fixed_interm', 'alpha-crown', 20],
  ['aCROWN_20', 'alpha-crown', 20], ['aCROWN_100', 'alpha-crown', 100]];
const here = path.dirname(fileURLToPath(import.meta.url));
const [reference, net, program = path.join(here, '../build/release/epsproof')] = process.argv.slice(2);
if (!net) {
  console.error('usage: reference_bounds.mjs REFERENCE.json NET.onnx [EPSPROOF]');
  process.exit(2);
}

function property(c, nY) {
  const lines = [];
  for (let i = 0; i < c.x_L.length; i++) lines.push(`(declare-const X_${i} Real)`);
  for (let i = 0; i < nY; i++) lines.push(`(declare-const Y_${i} Real)`);
  for (let i = 0; i < c.x_L.length; i++) lines.push(`(assert (>= X_${i} ${c.x_L[i]}))`, `(assert (<= X_${i} ${c.x_U[i]}))`);
  lines.push('(assert (<= Y_0 0))');
  return lines.join('\n') + '\n';
}

function ours(file, method, iterations) {
  const args = ['bound', net, file, '--method', method, '--iterations', String(iterations), '--format', 'json', '--timeout', '0'];
  return JSON.parse(execFileSync(program, args, { maxBuffer: 1 << 28 })).boxes[0].methods[0];
}

const flat = (v) => v.flat(Infinity);
const width = (lo, hi) => lo.reduce((s, l, i) => s + hi[i] - l, 0) / lo.length;
const dir = mkdtempSync(path.join(tmpdir(), 'bounds-'));
let looser = 0;
try {
  const pad = (x, n) => String(x).padStart(n);
  console.log(`${'case'.padEnd(6)}${'reference'.padEnd(24)}${'ours'.padEnd(14)}${pad('width', 12)}${pad('ours', 12)}${pad('looser', 8)}${pad('seconds', 10)}${pad('ours', 10)}`);
  JSON.parse(readFileSync(reference)).cases.forEach((c, k) => {
    const file = path.join(dir, 'box.vnnlib');
    writeFileSync(file, property({ x_L: flat(c.x_L), x_U: flat(c.x_U) }, flat(c.bounds.IBP.lower).length));
    for (const [name, method, iterations] of pairs) {
      const b = c.bounds[name];
      if (!b) continue;
      const lo = flat(b.lower), hi = flat(b.upper), r = ours(file, method, iterations);
      // What they computed in float32 is known to about 1e-4 of the width.
      const slack = 2e-4 * (width(lo, hi) + 1e-3);
      const n = lo.filter((l, i) => r.lower[i] < l - slack || r.upper[i] > hi[i] + slack).length;
      looser += n;
      console.log(`${String(k).padEnd(6)}${name.padEnd(24)}${method.padEnd(14)}${pad(width(lo, hi).toPrecision(6), 12)}${pad(width(r.lower, r.upper).toPrecision(6), 12)}${pad(n, 8)}${pad((c.seconds?.[name] ?? NaN).toFixed(3), 10)}${pad(r.seconds.toFixed(3), 10)}`);
    }
  });
} finally {
  rmSync(dir, { recursive: true });
}
process.exit(looser ? 1 : 0);
