import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BulkheadError } from '@bulkhead/contract';
import type { CallAnswer, Envelope, Json } from '@bulkhead/contract';
import { decideApproval } from '@bulkhead/policy/admin';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { until } from '../support/until.js';

/** A call that was sent and never answered, to a tool that honours keys: what becomes of it when it is asked again. */
const ARGS = { id: 'T-1' };
const HELD = { code: 'EFFECT_HELD' };
const TOOL = {
  adapter: 'http',
  description: 'Changes a thing.',
  inputSchema: {
    type: 'object',
    properties: { id: { type: 'string' } },
    required: ['id'],
    additionalProperties: false,
  },
  effect: 'write',
  idempotency: 'keyed',
} as const;
let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
});
afterAll(() => line.close());
beforeEach(async () => {
  line.tool.requests.length = 0;
  await line.publish('acme', [ALLOW_ALL]);
  await declare('things');
  host = await line.newHost();
  run = await line.newRun('acme');
  line.tool.answer = () => 'drop';
  const sent = await host.call(run, 'repeat.change', ARGS).catch((error: unknown) => error);
  if (!(sent instanceof BulkheadError) || sent.code !== HELD.code)
    throw new Error(`it ended: ${String(sent)}`);
  line.tool.answer = () => ({ done: true });
});

const declare = (place: string) =>
  putTool(
    line.db('acme'),
    'repeat.change',
    { ...TOOL, method: 'POST', url: `${line.tool.url}/${place}/{id}` },
    { actor: 'key:admin', reason: 'moved' },
  );

const books = async (of = run) => {
  const [entry] = await line.database.asOwner<Record<string, unknown>>(
    'SELECT state, outcome, charged::int FROM effects WHERE run_id = $1',
    [of.runId],
  );
  const released = await line.database.asOwner(
    "SELECT FROM journal_records WHERE run_id = $1 AND kind = 'release'",
    [of.runId],
  );
  return { ...entry, releases: released.length };
};
const OPEN = { state: 'open', outcome: null, charged: 1, releases: 0 };
const keys = (): unknown[] => line.tool.requests.map(({ headers }) => headers['idempotency-key']);

/** A host to which admit's answer does not come; returns when it has given back what it may hold. */
async function losesAdmit(of: Envelope): Promise<void> {
  const settled = Promise.withResolvers<void>();
  const door: Pick<TenantDoor, 'tenant'> = {
    tenant(id) {
      const db = line.door.tenant(id);
      return {
        ...db,
        async call(name, argument, sealed) {
          const answer = await db.call(name, argument, sealed);
          if (name === 'settle') settled.resolve();
          if (name !== 'admit') return answer;
          throw new BulkheadError('DATABASE_UNAVAILABLE', { internal: 'reset after the commit' });
        },
      };
    },
  };
  const call = (await line.newHost({ door })).call(of, 'repeat.change', ARGS);
  await expect(call).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
  await settled.promise;
}

describe('a repeat that is not sent', () => {
  const noLease = () =>
    line.newHost({ broker: { lease: () => Promise.reject(new BulkheadError('SECRET_UNAVAILABLE')) } });

  it('says nothing about the attempt before it: the books keep it as open and charged, and its key is used again', async () => {
    await expect((await noLease()).call(run, 'repeat.change', ARGS)).rejects.toMatchObject(HELD);
    expect(await books()).toEqual(OPEN);
    expect(await host.call(run, 'repeat.change', ARGS)).toMatchObject({ kind: 'ok' });
    expect(keys()).toEqual([keys()[0], keys()[0]]);
    expect(await books()).toEqual({ state: 'closed', outcome: 'ok', charged: 1, releases: 0 });
  });

  it('because the answer of admit was lost, gives nothing back of a host that died', async () => {
    const other = await line.newRun('acme');
    const dying = await line.newHost();
    const answer = Promise.withResolvers<Json>();
    line.tool.requests.length = 0;
    line.tool.answer = () => answer.promise;
    const lost = dying.call(other, 'repeat.change', ARGS).catch((error: unknown) => error);
    await until(() => line.tool.requests.length === 1);
    await line.fence(dying);
    await losesAdmit(other);
    expect(await books(other)).toEqual(OPEN);
    answer.resolve({ done: true });
    expect(await lost).toMatchObject({ code: 'HOST_FENCED' });
  });

  it('by an attempt that asks once more, stopped after its first byte, gives nothing back', async () => {
    // one attempt asks admit again when a stop broke it off: same host, same token
    const token = 'one-attempt';
    const other = await line.newRun('acme');
    line.tool.answer = () => 'drop';
    await expect(host.call(other, 'repeat.change', ARGS, { token })).rejects.toMatchObject(HELD);
    const again = { token, host: host.id };
    await expect((await noLease()).call(other, 'repeat.change', ARGS, again)).rejects.toMatchObject(HELD);
    expect(await books(other)).toEqual(OPEN);
  });

  it('is given up in the end as what it is: nobody knows, and it is charged', async () => {
    const last = (await noLease()).call(run, 'repeat.change', ARGS, { attempt: 8 });
    expect(await last).toMatchObject({ kind: 'indeterminate' });
    expect(await books()).toEqual({ state: 'closed', outcome: 'indeterminate', charged: 1, releases: 0 });
  });

  it('because the answer of admit was lost, gives nothing back', async () => {
    await losesAdmit(run);
    expect(await books()).toEqual(OPEN);
    expect(await host.call(run, 'repeat.change', ARGS)).toMatchObject({ kind: 'ok' });
    expect(keys()).toEqual([keys()[0], keys()[0]]);
  });
});

it('attack: the tool points elsewhere by now, where no key means anything: it is not sent there, and nobody knows', async () => {
  await declare('elsewhere');
  expect(await (await line.newHost()).call(run, 'repeat.change', ARGS)).toMatchObject({
    kind: 'indeterminate',
  });
  expect(line.tool.requests.map(({ path }) => path)).toEqual(['/things/T-1']);
  expect(await books()).toMatchObject({ outcome: 'indeterminate', charged: 1 });
});

describe('a rule that wants a person by now', () => {
  const ask = (): Promise<CallAnswer> => host.call(run, 'repeat.change', ARGS);
  const approve = (approvalId: string) =>
    decideApproval(
      line.db('acme'),
      { keyRing: line.keyRing, sealArguments: sealArgumentsWith(line.keyRing) },
      { approvalId, decision: 'approved', decidedBy: 'key:boss', role: 'admin', reason: undefined },
      {},
    );

  it('attack: is asked before the repeat as well; then the call is done once, under its own key', async () => {
    const approval = { approvers: ['admin'], expiresInSeconds: 600 };
    await line.publish('acme', [{ id: 'ask', effect: 'allow', tools: ['*'], approval }]);
    const asked = await ask();
    if (asked.kind !== 'approval_required') throw new Error(`it is ${asked.kind}`);
    expect(line.tool.requests).toHaveLength(1);
    await approve(asked.approvalId);
    line.tool.answer = () => 'drop';
    await expect(ask()).rejects.toMatchObject(HELD);
    // the same approval carries every repeat of the call that consumed it
    line.tool.answer = () => ({ done: true });
    expect(await ask()).toMatchObject({ kind: 'ok' });
    expect(keys()).toEqual([keys()[0], keys()[0], keys()[0]]);
    const [row] = await line.database.asOwner<Record<string, unknown>>(
      'SELECT a.consumed_at IS NOT NULL AS consumed, a.id = e.approval_id AS named FROM approvals a JOIN effects e USING (tenant_id, key) WHERE a.id = $1',
      [asked.approvalId],
    );
    expect(row).toEqual({ consumed: true, named: true });
  });
});
