#!/usr/bin/env node
// `npm run proofs [-- ISO-1 ISO-4 ...] [--size ci|full] [--json FILE]`: what Bulkhead claims, shown. One line per id:
// `ID  pass|fail|missing  figure  goal  N (min..max)`. The proofs run in vitest, for its servers and its source condition.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { BENCH_IDS, PROOF_IDS } from './ids.mjs';

const ROOT = new URL('../..', import.meta.url).pathname;
const SIZES = ['tiny', 'ci', 'full'];

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        bench: { type: 'boolean', default: false },
        size: { type: 'string', default: 'ci' },
        json: { type: 'string' },
      },
    });
    const known = values.bench ? BENCH_IDS : PROOF_IDS;
    const ids = positionals.length > 0 ? positionals.map((id) => id.toUpperCase()) : known;
    const unknown = ids.filter((id) => !known.includes(id));
    if (unknown.length > 0) throw new Error(`there is no proof ${unknown.join(', ')}`);
    if (!SIZES.includes(values.size)) throw new Error(`--size is one of ${SIZES.join(', ')}`);
    return { ids, ...values };
  } catch (error) {
    console.error(`proofs: ${error.message}`);
    process.exit(2);
  }
}

const { ids, size, json } = options();
mkdirSync(join(ROOT, '.data'), { recursive: true });
const folder = mkdtempSync(join(ROOT, '.data/proofs-'));
const events = join(folder, 'events.jsonl');
writeFileSync(events, '');
const results = [];
let read = 0;

/** Takes what the proofs have written since the last look, whole lines only. */
function follow() {
  const text = readFileSync(events, 'utf8');
  const end = text.lastIndexOf('\n') + 1;
  const fresh = text.slice(read, end).split('\n').filter(Boolean);
  read = end;
  for (const line of fresh) show(JSON.parse(line));
}

function show({ id, progress, missing, result, error, seconds }) {
  if (progress !== undefined) return console.error(`  ${id} ${progress}`);
  if (missing) return keep({ id, pass: false, missing: true });
  if (error !== undefined) return keep({ id, pass: false, faults: [error] });
  keep({ id, ...result, seconds: Math.round(seconds * 10) / 10 });
}

function keep(result) {
  if (results.some(({ id }) => id === result.id)) return;
  results.push(result);
  console.log(lineOf(result));
  for (const fault of result.faults ?? []) console.log(`        ${fault}`);
}

function lineOf({ id, pass, missing, figure, goal, unit, n, min, max, seconds }) {
  if (missing) return `${id.padEnd(8)}missing`;
  const verdict = pass ? 'pass' : 'fail';
  if (figure === undefined) return `${id.padEnd(8)}${verdict}`;
  const range = min === undefined ? '' : ` (${min}..${max})`;
  return `${id.padEnd(8)}${verdict}  ${figure} ${unit}  goal ${goal}  N ${n}${range}  ${seconds} s`;
}

const child = spawn(
  join(ROOT, 'node_modules/.bin/vitest'),
  ['run', '--project', 'proofs', '--reporter=dot', '--no-color'],
  {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    // the Node of the project first, as npm does it
    env: {
      ...process.env,
      PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`,
      BULKHEAD_PROOFS: JSON.stringify({ ids, size, events }),
    },
  },
);
let output = '';
for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
const timer = setInterval(follow, 200);
const code = await new Promise((resolve) => child.on('close', resolve));
clearInterval(timer);
follow();
rmSync(folder, { recursive: true });
if (results.length < ids.length) {
  console.error(output); // the runner itself broke off: say why
  for (const id of ids)
    keep({ id, pass: false, faults: [`the runner ended with ${code} before this proof`] });
}
const passed = results.filter(({ pass }) => pass).length;
console.log(`\n${passed} of ${ids.length} passed`);
if (json !== undefined) writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
process.exit(passed === ids.length ? 0 : 1);
