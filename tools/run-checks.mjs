#!/usr/bin/env node
// `npm test`: every check of the project, one after the other, and one plain closing line `N passed, N failed`.
// Plain JavaScript on purpose: it runs before anything is built. `npm test -- unit lint` runs only the named checks.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

const ROOT = new URL('..', import.meta.url).pathname;
const OUT = join(ROOT, '.data', 'checks');

const CHECKS = [
  { name: 'build', command: ['nx', 'run-many', '-t', 'build', '--output-style=static'] },
  { name: 'typecheck', command: ['tsc', '--noEmit'] },
  { name: 'lint', command: ['oxlint', '--deny-warnings'] },
  { name: 'format', command: ['prettier', '--check', '--log-level', 'warn', '.'] },
  { name: 'boundaries', command: ['npm', 'run', '--silent', 'boundaries'] },
  { name: 'unused', command: ['knip'] },
  { name: 'unit', vitest: 'unit' },
  { name: 'integration', vitest: 'integration' },
  {
    name: 'demo',
    command: [
      'node',
      '--enable-source-maps',
      'tools/dist/start.js',
      '--once',
      '--fresh',
      '--data',
      '.data/demo-check',
    ],
  },
];

/** The demo takes free ports: whoever runs the checks may have an installation of their own running. */
const PORTS = ['API', 'HELPDESK', 'MODEL', 'TEMPORAL', 'TEMPORAL_UI', 'POSTGRES'];
const FREE_PORTS = Object.fromEntries(PORTS.map((name) => [`BULKHEAD_${name}_PORT`, '0']));

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !CHECKS.some((check) => check.name === name));
if (unknown.length > 0) {
  console.error(
    `unknown check ${unknown.join(', ')}; there are: ${CHECKS.map((check) => check.name).join(' ')}`,
  );
  process.exit(2);
}

/** Runs one check with its output on the terminal and returns how many of its tests passed and failed. */
function run(check) {
  const report = join(OUT, `${check.name}.json`);
  const command = check.vitest
    ? [
        'vitest',
        'run',
        '--project',
        check.vitest,
        '--reporter=default',
        '--reporter=json',
        `--outputFile.json=${report}`,
      ]
    : check.command;
  const started = performance.now();
  const { status } = spawnSync(command[0], command.slice(1), {
    cwd: ROOT,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...(check.name === 'demo' ? FREE_PORTS : {}) },
  });
  const seconds = (performance.now() - started) / 1000;
  if (!check.vitest) return { passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1, seconds };
  const counts = readReport(report);
  // a runner that dies, finds no test or skips one has not passed, whatever it counted
  const broken = (status !== 0 && counts.failed === 0) || counts.passed === 0;
  return { passed: counts.passed, failed: counts.failed + counts.skipped + (broken ? 1 : 0), seconds };
}

function readReport(file) {
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'));
    return {
      passed: report.numPassedTests,
      failed: report.numFailedTests,
      skipped: report.numPendingTests + (report.numTodoTests ?? 0),
    };
  } catch (error) {
    console.error(`no report of the tests: ${error.message}`);
    return { passed: 0, failed: 0, skipped: 0 };
  }
}

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
const results = [];
for (const check of CHECKS.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  console.log(`\n=== ${check.name}`);
  results.push({ name: check.name, ...run(check) });
}

console.log('\ncheck         passed  failed  seconds');
for (const { name, passed, failed, seconds } of results) {
  console.log(
    `${name.padEnd(14)}${String(passed).padStart(5)}${String(failed).padStart(8)}${seconds.toFixed(1).padStart(9)}`,
  );
}
const sum = (key) => results.reduce((total, result) => total + result[key], 0);
console.log(`\n${sum('passed')} passed, ${sum('failed')} failed`);
process.exit(sum('failed') === 0 ? 0 : 1);
