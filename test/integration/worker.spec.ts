import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { WorkflowFailedError } from '@temporalio/client';
import { buildApprovalId, SIGNALS, tenantId as parseTenantId, toolId } from '@bulkhead/contract';
import type { CallRequest } from '@bulkhead/contract';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { pino } from 'pino';
import { resetToFirstTask } from '../support/reset.js';
import { scriptedLine } from '../support/scripted-line.js';
import type { ScriptedAnswer, ScriptedLine } from '../support/scripted-line.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';

/** Real Temporal server, tokens, Workers, bundle, interceptors and door; broker and gateway are scripted. */
const worlds: TenantWorld[] = [];
async function world(line: ScriptedLine, options?: { maxCachedWorkflows?: number }): Promise<TenantWorld> {
  const opened = await openTenantWorld(line.activities, options);
  worlds.push(opened);
  return opened;
}
const toolsOf = (line: ScriptedLine): string[] => line.effects.map(({ request }) => request.toolId);

beforeAll(() => installRuntime(pino({ level: 'fatal' }), 'warn'));
afterAll(async () => {
  await Promise.all(worlds.map((opened) => opened.close()));
  await closeFleetThreads();
});

describe('a run', () => {
  it('does its calls in order and returns what it did, each effect under its own tenant', async () => {
    const line = scriptedLine();
    const tenant = await world(line);
    const handle = await tenant.start('supportTriage', { ticketId: 'T-1' });
    const result = (await handle.result()) as { steps: { tool: string; outcome: string }[]; answer: string };
    expect(result.answer).toBe('We have sent you a link.');
    expect(result.steps.map((step) => step.outcome)).toEqual(Array(6).fill('ok'));
    expect(toolsOf(line)).toEqual([
      'helpdesk.ticket.read',
      'memory.search_nodes',
      'model.chat',
      'memory.create_entities',
      'helpdesk.ticket.update',
      'webhook.post',
    ]);
    for (const { envelope } of line.effects) {
      expect(envelope).toMatchObject({ tenantId: tenant.tenantId, runId: handle.workflowId });
    }
  });

  it('of three segments does every effect once and carries its envelope through each', async () => {
    const line = scriptedLine();
    const tenant = await world(line);
    const handle = await tenant.start('longChain', { ticketId: 'T-1', segments: 3, callsPerSegment: 2 });
    expect(await handle.result()).toMatchObject({ segments: 3, steps: { length: 6 } });
    expect(line.effects.map(({ request }) => [request.segment, request.n])).toEqual([
      [0, 0],
      [0, 0],
      [1, 0],
      [1, 0],
      [2, 0],
      [2, 0],
    ]);
  });

  it('without any workflow cache replays at each step and still does every effect once', async () => {
    const line = scriptedLine();
    const tenant = await world(line, { maxCachedWorkflows: 0 });
    const handle = await tenant.start('supportTriage', { ticketId: 'T-1' });
    await handle.result();
    expect(line.effects).toHaveLength(6);
    expect(line.asked).toHaveLength(6);
  });

  it('that is reset asks again with the same keys and does nothing twice', async () => {
    const line = scriptedLine();
    const tenant = await world(line);
    const handle = await tenant.start('longChain', { ticketId: 'T-1', segments: 1, callsPerSegment: 3 });
    await handle.result();
    const first = [...line.asked];
    await resetToFirstTask(tenant.connection, tenant.tenantId, handle.workflowId);
    await openedAgain(tenant, handle.workflowId);
    expect(line.asked).toEqual([...first, ...first]);
    expect(line.effects).toHaveLength(3);
  });
});

/** The result of the newest execution under the id. */
async function openedAgain(tenant: TenantWorld, workflowId: string): Promise<void> {
  await tenant.client().workflow.getHandle(workflowId).result();
}

describe('an attacker who can start workflows in a tenant’s namespace', () => {
  const failure = async (handle: { result(): Promise<unknown> }): Promise<unknown> => {
    const error: unknown = await handle.result().catch((caught: unknown) => caught);
    return error instanceof WorkflowFailedError ? Reflect.get(error.cause ?? {}, 'type') : error;
  };

  it('gets nothing without an envelope', async () => {
    const line = scriptedLine();
    const tenant = await world(line);
    const handle = await tenant.start('supportTriage', { ticketId: 'T-1' }, { envelope: null });
    expect(await failure(handle)).toBe('ENVELOPE_INVALID');
    expect([line.asked, line.lists]).toEqual([[], []]);
  });

  it('gets nothing with another run’s genuine envelope', async () => {
    const line = scriptedLine();
    const tenant = await world(line);
    const handle = await tenant.start(
      'supportTriage',
      { ticketId: 'T-1' },
      { envelope: tenant.envelopeOf(tenant.newRunId()) },
    );
    expect(await failure(handle)).toBe('ENVELOPE_MISMATCH');
    expect([line.asked, line.lists]).toEqual([[], []]);
  });

  it('gets nothing with another tenant’s genuine envelope', async () => {
    const line = scriptedLine();
    const tenant = await world(line);
    const runId = tenant.newRunId();
    const envelope = tenant.envelopeOf(runId, { tenantId: parseTenantId('globex') });
    const handle = await tenant.start('supportTriage', { ticketId: 'T-1' }, { runId, envelope });
    expect(await failure(handle)).toBe('ENVELOPE_MISMATCH');
    expect([line.asked, line.lists]).toEqual([[], []]);
  });

  it('gets nothing with a payload that looks right and a signature that is not: the door checks it', async () => {
    const line = scriptedLine();
    const tenant = await world(line);
    const runId = tenant.newRunId();
    const [header, payload] = tenant.envelopeOf(runId).split('.');
    const [, , other] = tenant.envelopeOf(tenant.newRunId()).split('.');
    const envelope = `${header}.${payload}.${other}` as ReturnType<TenantWorld['envelopeOf']>;
    const handle = await tenant.start('supportTriage', { ticketId: 'T-1' }, { runId, envelope });
    await expect(handle.result()).rejects.toThrow(WorkflowFailedError);
    expect([line.asked, line.lists]).toEqual([[], []]);
  });
});

describe('a wait', () => {
  it('for an approval ends with the signal; a signal that nobody’s decision stands behind changes nothing', async () => {
    let approved = false;
    const approvalId = buildApprovalId(parseTenantId('acme'), '01kb3v6r2e8m4q7x9z0a1b2c3d');
    const line = scriptedLine((request): ScriptedAnswer | undefined =>
      request.toolId === 'helpdesk.ticket.update' && !approved
        ? {
            kind: 'approval_required',
            approvalId,
            expiresAt: new Date(Date.now() + 60_000).toISOString(),
            reason: { message: 'ask' },
          }
        : undefined,
    );
    const tenant = await world(line);
    const handle = await tenant.start('longChain', { ticketId: 'T-1', segments: 1 });
    const updates = (): CallRequest[] => line.asked;
    await vi.waitFor(() => expect(updates()).toHaveLength(1), { timeout: 10_000 });
    // the answer has left the gateway; the run waits only once its next task has taken it
    await vi.waitFor(
      async () => expect(await handle.query('waitingFor')).toMatchObject([{ for: 'approval', approvalId }]),
      { timeout: 10_000 },
    );
    await handle.signal(SIGNALS.approvalDecided, { approvalId });
    await vi.waitFor(() => expect(updates()).toHaveLength(2), { timeout: 10_000 });
    expect(line.effects).toEqual([]);
    approved = true;
    await handle.signal(SIGNALS.approvalDecided, { approvalId });
    await handle.result();
    expect(line.effects).toHaveLength(1);
    expect(updates().map((request) => request.n)).toEqual([0, 0, 0]);
  });

  it('for a resume ends with the signal and the author sees only the outcome', async () => {
    let paused = true;
    const line = scriptedLine(() =>
      paused ? { kind: 'parked', state: 'paused', reason: { message: 'paused' } } : undefined,
    );
    const tenant = await world(line);
    const handle = await tenant.start('longChain', { ticketId: 'T-1', segments: 1 });
    await vi.waitFor(
      async () => expect(await handle.query('waitingFor')).toMatchObject([{ for: 'resume' }]),
      { timeout: 10_000 },
    );
    paused = false;
    await handle.signal(SIGNALS.resume);
    expect(await handle.result()).toMatchObject({ steps: [{ outcome: 'ok' }] });
  });
});

describe('the list of tools', () => {
  const offered = (description: string) =>
    ({
      kind: 'tools',
      tools: [{ id: toolId('helpdesk.ticket.read'), description, effect: 'read', standing: 'allowed' }],
    }) as const;
  const toldTheModel = (line: ScriptedLine): string =>
    JSON.stringify(line.effects.find(({ request }) => request.toolId === 'model.chat')?.request.args);

  it('is asked for once, under the run’s own envelope, and told to the model as data', async () => {
    const line = scriptedLine(undefined, (asked) => offered(`list ${asked}`));
    // without any cache each step replays: a list that is not in the history would be asked for again, and differ
    const tenant = await world(line, { maxCachedWorkflows: 0 });
    const handle = await tenant.start('supportTriage', { ticketId: 'T-1' });
    await handle.result();
    expect(line.lists).toMatchObject([{ envelope: { tenantId: tenant.tenantId, runId: handle.workflowId } }]);
    expect(toldTheModel(line)).toContain('list 1');
  });

  it('of a run that is stopped is waited for like a call', async () => {
    const line = scriptedLine(undefined, (asked) =>
      asked === 1
        ? { kind: 'parked', state: 'paused', reason: { message: 'paused' } }
        : offered('after the stop'),
    );
    const tenant = await world(line);
    const handle = await tenant.start('supportTriage', { ticketId: 'T-1' });
    await vi.waitFor(
      async () => expect(await handle.query('waitingFor')).toEqual([{ for: 'resume', state: 'paused' }]),
      { timeout: 10_000 },
    );
    await handle.signal(SIGNALS.resume);
    await handle.result();
    expect(line.lists).toHaveLength(2);
    expect(toldTheModel(line)).toContain('after the stop');
  });
});

it('many tenants share the workflow threads and none gets another’s work', async () => {
  const lines = Array.from({ length: 8 }, () => scriptedLine());
  const tenants = await Promise.all(lines.map((line) => world(line)));
  const handles = await Promise.all(
    tenants.map((tenant) => tenant.start('supportTriage', { ticketId: tenant.tenantId })),
  );
  await Promise.all(handles.map((handle) => handle.result()));
  for (const [index, line] of lines.entries()) {
    expect(new Set(line.effects.map(({ envelope }) => envelope.tenantId))).toEqual(
      new Set([tenants[index]?.tenantId]),
    );
    expect(line.effects[0]?.request.args).toEqual({ ticketId: tenants[index]?.tenantId });
  }
});
