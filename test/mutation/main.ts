import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { editOf, specOf, testPattern } from './guard.ts';
import type { Guard } from './guard.ts';
import { GUARDS } from './guards.ts';
import { openScratch } from './scratch.ts';
import type { Scratch, TestRun } from './scratch.ts';

const HELP = `npm run mutations [-- flags] [guard ...]    takes each guard away, one at a time, and demands a red test

  --list         the guards
  --json FILE    also write the results to FILE
  --help         this text

It works in a copy of the checkout below .data, which it removes. Without a name all guards: about 20 s each.
`;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

interface Result {
  readonly guard: string;
  /** red: a test noticed. green: none did. broken: nothing was shown, and \`why\` says what happened. */
  readonly verdict: 'red' | 'green' | 'broken';
  readonly why: string;
  readonly seconds: number;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      list: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return say(HELP, 0);
  if (values.list) return say(GUARDS.map(({ name, spec }) => `${name.padEnd(34)}${spec}\n`).join(''), 0);
  const unknown = positionals.filter((name) => !GUARDS.some((guard) => guard.name === name));
  if (unknown.length > 0) return say(`there is no guard ${unknown.join(', ')}; --list shows them\n`, 2);
  const wanted = GUARDS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  for (const guard of wanted) editOf(ROOT, guard); // all of them apply, or nothing is begun
  const results = await attempt(wanted);
  const red = results.filter(({ verdict }) => verdict === 'red').length;
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
  return say(
    `\n${red} of ${wanted.length} guards are missed by a test when they are gone\n`,
    red === wanted.length ? 0 : 1,
  );
}

function say(text: string, code: number): number {
  process.stdout.write(text);
  return code;
}

async function attempt(guards: readonly Guard[]): Promise<Result[]> {
  const scratch = await openScratch(ROOT);
  try {
    const sound = new Set<string>();
    const results: Result[] = [];
    for (const guard of guards) {
      const began = performance.now();
      const verdict = await withoutGuard(scratch, guard, sound);
      const result = {
        guard: guard.name,
        ...verdict,
        seconds: Math.round((performance.now() - began) / 1000),
      };
      results.push(result);
      say(
        `${result.guard.padEnd(34)}${result.verdict.padEnd(8)}${String(result.seconds).padStart(4)} s  ${result.why}\n`,
        0,
      );
    }
    return results;
  } finally {
    await scratch.remove();
  }
}

/** `sound`: names of tests that were seen to pass with every guard in place; only those can tell anything by failing. */
async function withoutGuard(
  scratch: Scratch,
  guard: Guard,
  sound: Set<string>,
): Promise<{ verdict: Result['verdict']; why: string }> {
  const { project, file: spec } = specOf(guard);
  const { tests, output } = await testWithout(scratch, guard);
  if (!tests) return { verdict: 'broken', why: output.slice(-300).replaceAll('\n', ' ') };
  const { failed, passed } = tests;
  if (failed.length === 0 && passed.length === 0) return { verdict: 'broken', why: `no test of ${spec} ran` };
  if (failed.length === 0) return { verdict: 'green', why: `${passed.length} tests of ${spec} passed` };
  if (!failed.some((name) => sound.has(name))) {
    const whole = await scratch.test(project, [spec], testPattern(guard));
    for (const name of whole.tests?.passed ?? []) sound.add(name);
  }
  const [noticed, ...others] = failed.filter((name) => sound.has(name));
  if (noticed === undefined) return { verdict: 'broken', why: `${failed[0]} fails with the guard, too` };
  return { verdict: 'red', why: `${noticed}${others.length > 0 ? ` (+${others.length})` : ''}` };
}

/** With the guard back in its place whatever happens. */
async function testWithout(scratch: Scratch, guard: Guard): Promise<TestRun> {
  const { file, before, after } = editOf(scratch.root, guard);
  const { project, file: spec } = specOf(guard);
  await scratch.write(file, after);
  try {
    if (guard.build && !(await scratch.build())) return { tests: undefined, output: 'it does not build' };
    return await scratch.test(project, [spec], testPattern(guard));
  } finally {
    await scratch.write(file, before);
    if (guard.build) await scratch.build();
  }
}

process.exit(await main());
