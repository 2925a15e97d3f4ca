import { performance } from 'node:perf_hooks';
import { describe, expect, it, vi } from 'vitest';
import { BulkheadError, tenantId, toolId } from '@bulkhead/contract';
import type { CallKey } from '@bulkhead/contract';
import { createPolicy } from '@bulkhead/policy/line';
import type { AllowDecision } from '@bulkhead/policy/line';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createJournal } from './line.js';
import type { Admission, Call } from './line.js';

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
  const call = async (_: string, argument: object, bytes?: Uint8Array): Promise<unknown> => {
    calls.push({ ...argument, ...(bytes ? { bytes } : {}) });
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
      bytes: Buffer.from('x'),
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

/** What policy decides on a document that allows everything. */
async function allowedFor(tenant: string): Promise<AllowDecision> {
  const document = { rules: [{ id: 'all', effect: 'allow', tools: ['*'] }] };
  const door = { tenant: () => ({ read: async () => [{ version: 1, document }] }) };
  const policy = createPolicy({ door: door as unknown as Pick<TenantDoor, 'tenant'> });
  const facts = { tool: 'a.b', system: 'a', effect: 'read', destination: null, args: {} } as never;
  const decision = await policy.authorise(tenantId(tenant), 'default', facts);
  if (decision.kind !== 'allow') throw new Error(`it was decided ${decision.kind}`);
  return decision;
}

describe('admit', () => {
  const call = { key: 'k', host: 'h', token: 't', request: new Uint8Array() } as unknown as Call;
  const asked: string[] = [];
  const door = {
    tenant: () => ({
      call: async (name: string) => {
        asked.push(name);
        return { kind: 'fenced' };
      },
    }),
  } as unknown as Pick<TenantDoor, 'tenant'>;
  const admit = (decision: AllowDecision): Promise<unknown> => {
    asked.length = 0;
    return createJournal({ door, stop: running }).admit(tenantId('acme'), decision, call);
  };

  it('asks the database with a decision that policy made for this tenant', async () => {
    expect(await admit(await allowedFor('acme'))).toEqual({ kind: 'fenced' });
    expect(asked).toEqual(['admit']);
  });

  it("attack: another tenant's decision, a copy of a good one, and one that nobody made", async () => {
    const good = await allowedFor('acme');
    for (const forged of [await allowedFor('globex'), { ...good }, {} as AllowDecision]) {
      await expect(admit(forged)).rejects.toMatchObject({ code: 'INTERNAL' });
      expect(asked).toEqual([]);
    }
  });

  it('attack: a process that stood still goes on with what it decided before', async () => {
    const decision = await allowedFor('acme');
    const later = performance.now() + 5_000;
    const clock = vi.spyOn(globalThis.performance, 'now').mockReturnValue(later);
    try {
      await expect(admit(decision)).rejects.toMatchObject({ code: 'POLICY_UNAVAILABLE' });
    } finally {
      clock.mockRestore();
    }
    expect(asked).toEqual([]);
  });
});
