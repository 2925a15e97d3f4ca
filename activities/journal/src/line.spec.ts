import { describe, expect, it } from 'vitest';
import { BulkheadError, tenantId, toolId } from '@bulkhead/contract';
import type { CallKey } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createJournal } from './line.js';
import type { Admission } from './line.js';

const ADMISSION = {
  tenantId: tenantId('acme'),
  key: 'k' as CallKey,
  toolId: toolId('a.b'),
  host: 'h',
  token: 't',
  secret: undefined,
} as unknown as Admission;

/** A door whose database is away for the first `failures` calls. */
function flakyDoor(failures: number, error: unknown = new BulkheadError('DATABASE_UNAVAILABLE')) {
  const calls: unknown[] = [];
  const call = async (_: string, argument: object): Promise<unknown> => {
    calls.push(argument);
    if (calls.length <= failures) throw error;
    return { kind: 'settled', state: 'closed' };
  };
  return { calls, door: { tenant: () => ({ call }) } as unknown as Pick<TenantDoor, 'tenant'> };
}
const ANSWERED = { ending: 'answered', outcome: 'ok', result: Buffer.from('x') } as const;
const running = new AbortController().signal;

describe('settle', () => {
  it('tries again while the database is away, and then closes the entry', async () => {
    const { door, calls } = flakyDoor(2);
    expect(await createJournal({ door, stop: running }).settle(ADMISSION, ANSWERED)).toEqual({
      kind: 'settled',
      state: 'closed',
    });
    expect(calls).toHaveLength(3);
    expect(calls[2]).toEqual({
      key: 'k',
      host: 'h',
      token: 't',
      ending: 'answered',
      outcome: 'ok',
      result: 'eA==',
    });
  });

  it('gives its caller up at the deadline and goes on: nobody else may say that this attempt has ended', async () => {
    const { door, calls } = flakyDoor(3);
    const journal = createJournal({ door, stop: running, settleDeadlineMs: 60 });
    await expect(journal.settle(ADMISSION, ANSWERED)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    const before = calls.length;
    await expect.poll(() => calls.length, { timeout: 3_000 }).toBe(4);
    expect(before).toBeLessThan(4);
  });

  it('does not repeat an error that is not the database being away', async () => {
    const { door, calls } = flakyDoor(1, new Error('syntax'));
    await expect(createJournal({ door, stop: running }).settle(ADMISSION, ANSWERED)).rejects.toThrow(
      'syntax',
    );
    expect(calls).toHaveLength(1);
  });

  it('stops when the process stops', async () => {
    const { door, calls } = flakyDoor(1_000);
    await expect(
      createJournal({ door, stop: AbortSignal.abort() }).settle(ADMISSION, ANSWERED),
    ).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(calls).toHaveLength(1);
  });

  it('an answer that is none of the known ones is a bug and throws', async () => {
    const door = {
      tenant: () => ({ call: async () => ({ kind: 'settled', state: 'maybe' }) }),
    } as unknown as Pick<TenantDoor, 'tenant'>;
    await expect(createJournal({ door, stop: running }).settle(ADMISSION, ANSWERED)).rejects.toThrow(
      'Invalid',
    );
  });
});
