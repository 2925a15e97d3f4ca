import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { editOf, specOf, testPattern } from '../mutation/guard.js';
import { GUARDS } from '../mutation/guards.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Every test as its source names it; no spec is loaded for that. */
const listed = JSON.parse(
  execFileSync(join(ROOT, 'node_modules/.bin/vitest'), ['list', '--json'], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 64 * 1_048_576,
    stdio: ['ignore', 'pipe', 'ignore'],
  }),
) as readonly { readonly name: string; readonly file: string }[];

/** `npm run mutations` takes each guard away and demands a red test; here only that it still finds each of them. */
describe('the guards of the switchboard', () => {
  it('have names of their own', () => {
    const names = GUARDS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(50);
  });

  it.each(GUARDS.map((guard) => [guard.name, guard] as const))(
    '%s: its edit applies, and its test is there',
    (_, guard) => {
      const { before, after } = editOf(ROOT, guard);
      expect(after).not.toBe(before);
      const spec = join(ROOT, specOf(guard).file);
      const names = listed.filter(({ file }) => file === spec).map(({ name }) => name);
      const isNamed = names.some((name) => new RegExp(testPattern(guard)).test(name));
      // what is put together from a table has its name only when it runs
      expect(isNamed || names.some((name) => /%[sdijo#$]|\$/.test(name))).toBe(true);
    },
  );
});
