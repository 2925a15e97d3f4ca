import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { editOf } from '../mutation/guard.js';
import { GUARDS } from '../mutation/guards.js';

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
      const { before, after } = editOf(fileURLToPath(new URL('../..', import.meta.url)), guard);
      expect(after).not.toBe(before);
    },
  );
});
