import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { pino } from 'pino';
import { buildApprovalId, SIGNALS } from '@bulkhead/contract';
import type { CallKey } from '@bulkhead/contract';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { scriptedLine } from '../support/scripted-line.js';
import type { ScriptedAnswer } from '../support/scripted-line.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';

/** What can brick a run: an error in workflow code fails its task again and again, and the run never ends. */
const worlds: TenantWorld[] = [];
const world = async (...given: Parameters<typeof openTenantWorld>): Promise<TenantWorld> => {
  const opened = await openTenantWorld(...given);
  worlds.push(opened);
  return opened;
};

beforeAll(() => installRuntime(pino({ level: 'fatal' }), 'warn'));
afterAll(async () => {
  await Promise.all(worlds.map((opened) => opened.close()));
  await closeFleetThreads();
});

describe('a run survives', () => {
  it('attack: signals without or with a wrong argument, from whoever holds the namespace’s token', async () => {
    let answer: ScriptedAnswer | undefined;
    const line = scriptedLine((request) =>
      request.toolId === 'helpdesk.ticket.update' ? answer : undefined,
    );
    const tenant = await world(line.activities);
    const approvalId = buildApprovalId(tenant.tenantId, '01kb3v6r2e8m4q7x9z0a1b2c3d');
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    answer = { kind: 'approval_required', approvalId, expiresAt, reason: { message: 'ask' } };
    const handle = await tenant.start('supportTriage', { ticketId: 'T-1' });
    await vi.waitFor(async () => expect(await handle.query('waitingFor')).toHaveLength(1), 10_000);
    for (const argument of [[], [null], ['x'], [{ approvalId: { toString: 1 } }]]) {
      await handle.signal(SIGNALS.approvalDecided, ...argument);
    }
    answer = undefined;
    await handle.signal(SIGNALS.approvalDecided, { approvalId });
    expect(await handle.result()).toMatchObject({ answer: 'We have sent you a link.' });
  });

  it('attack: a model whose text has a character of two halves exactly where the text is cut', async () => {
    for (const length of [3_999, 489]) {
      const text = `${'x'.repeat(length)}\u{1f600}${'y'.repeat(50)}`;
      const line = scriptedLine((request) =>
        request.toolId === 'model.chat' ? { kind: 'ok', value: { text }, key: 'k' as CallKey } : undefined,
      );
      const tenant = await world(line.activities);
      const handle = await tenant.start('supportTriage', { ticketId: 'T-1' });
      const { answer } = (await handle.result()) as { answer: string };
      expect(answer.isWellFormed()).toBe(true);
      expect(answer.slice(0, 480)).toBe(text.slice(0, 480));
    }
  });
});
