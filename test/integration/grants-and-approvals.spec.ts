import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildRevocationId, tenantId, toolId } from '@bulkhead/contract';
import type { Envelope, Json } from '@bulkhead/contract';
import { decideApproval, listApprovals } from '@bulkhead/policy/admin';
import { requestRun } from '@bulkhead/runs/admin';
import type { RunAction } from '@bulkhead/runs/admin';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { revokeSecrets, storeSecret } from '@bulkhead/secret-broker/admin';
import { findTool, putTool, setToolEnabled } from '@bulkhead/tool-gateway/admin';
import { ALLOW_ALL, openLine, SECRET } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

let line: LineUnderTest;
let host: Host;
let run: Envelope;

beforeAll(async () => {
  line = await openLine();
});
afterAll(() => line.close());
beforeEach(async () => {
  line.tool.requests.length = 0;
  line.tool.answer = () => ({ done: true });
  await line.publish('acme', [ALLOW_ALL]);
  host = await line.newHost();
  run = await line.newRun('acme');
});

const recordsOf = async (runId: string): Promise<string[]> =>
  (
    await line.database.asOwner<{ kind: string }>(
      'SELECT kind FROM journal_records WHERE run_id = $1 ORDER BY id',
      [runId],
    )
  ).map((row) => row.kind);
describe('credentials', () => {
  it('a rotated secret makes the grant stale; asked again, the new value is used', async () => {
    const granted = await line.broker.secretBroker(run, { toolId: toolId('desk.read') });
    const value = 'sk-the-second-value';
    await storeSecret(line.db('acme'), line.keyRing, {
      name: 'desk',
      access: 'mutate',
      boundHost: line.tool.host,
      value,
    });
    const request = { toolId: toolId('desk.read'), args: { id: 'T-1' }, segment: 0, n: 0 };
    const stale = { ...request, ...(granted.kind === 'grant' ? { grantId: granted.grantId } : {}) };
    const context = {
      workflowId: run.runId,
      temporalRunId: 't',
      onExpensiveQueue: false,
      attempt: 1,
      host: host.id,
      token: 't',
      signal: new AbortController().signal,
      heartbeat: () => undefined,
    };
    expect(await host.gateway(run, stale, context)).toMatchObject({ kind: 'grant_stale' });
    expect(line.tool.requests).toEqual([]);
    expect(await host.call(run, 'desk.read', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
    expect(line.tool.requests[0]?.headers.authorization).toBe(`Bearer ${value}`);
  });

  it("attack: another run's or another tenant's grant, a read grant for a change, or none at all", async () => {
    const foreign = await line.newRun('globex');
    const other = await line.newRun('acme');
    const grants = await Promise.all(
      (
        [
          [foreign, 'desk.update'],
          [other, 'desk.update'],
          [run, 'desk.read'],
        ] as const
      ).map(([of, tool]) => line.broker.secretBroker(of, { toolId: toolId(tool) })),
    );
    expect(grants.map((grant) => grant.kind)).toEqual(['grant', 'grant', 'grant']);
    for (const grantId of [
      ...grants.map((grant) => (grant.kind === 'grant' ? grant.grantId : undefined)),
      undefined,
    ]) {
      const request = {
        toolId: toolId('desk.update'),
        args: { id: 'T-1' },
        segment: 0,
        n: 0,
        ...(grantId ? { grantId } : {}),
      };
      const context = {
        workflowId: run.runId,
        temporalRunId: 't',
        onExpensiveQueue: false,
        attempt: 1,
        host: host.id,
        token: 't',
        signal: new AbortController().signal,
        heartbeat: () => undefined,
      };
      expect(await host.gateway(run, request, context)).toMatchObject({ kind: 'grant_stale' });
    }
    expect(line.tool.requests).toEqual([]);
  });

  it('a revoked secret, and one that is too narrow, are refused by the broker and recorded', async () => {
    await storeSecret(line.db('globex'), line.keyRing, {
      name: 'desk',
      access: 'read',
      boundHost: line.tool.host,
      value: SECRET,
    });
    const narrow = await line.newRun('globex');
    expect(await host.call(narrow, 'desk.update', { id: 'T-1' })).toMatchObject({
      kind: 'denied',
      reason: { layer: 'credentials' },
    });
    expect(await host.call(narrow, 'desk.read', { id: 'T-1' })).toMatchObject({ kind: 'ok' });
    await revokeSecrets(line.db('globex'), {
      id: buildRevocationId(tenantId('globex'), '01kb3v6r2e8m4q7x9z0a1b2c3d'),
      scope: 'secret',
      secret: 'desk',
      version: undefined,
      target: undefined,
      dryRun: false,
      reason: 'test',
      actor: 'key:admin',
      boundMs: 0,
    });
    expect(await host.call(narrow, 'desk.read', { id: 'T-2' })).toMatchObject({ kind: 'denied' });
    expect((await recordsOf(narrow.runId)).filter((kind) => kind === 'decision')).toHaveLength(2);
    expect(line.tool.requests).toHaveLength(1);
  });

  it('a grant that was revoked is not given out again', async () => {
    const ask = () => line.broker.secretBroker(run, { toolId: toolId('desk.read') });
    expect(await ask()).toMatchObject({ kind: 'grant' });
    await line.database.asOwner("UPDATE grants SET state = 'revoked' WHERE run_id = $1", [run.runId]);
    expect(await ask()).toMatchObject({
      kind: 'denied',
      reason: { message: expect.stringMatching(/this run/) },
    });
    expect(await recordsOf(run.runId)).toContain('decision');
  });

  it('ten callers at once get one grant', async () => {
    const grants = await Promise.all(
      Array.from({ length: 10 }, () => line.broker.secretBroker(run, { toolId: toolId('desk.read') })),
    );
    expect(new Set(grants.map((grant) => grant.kind === 'grant' && grant.grantId)).size).toBe(1);
    expect(grants[0]).toMatchObject({ kind: 'grant', system: 'desk', access: 'read' });
  });

  it('a tool that is switched off gets no grant', async () => {
    await setToolEnabled(line.db('acme'), toolId('desk.update'), false);
    try {
      expect(await line.broker.secretBroker(run, { toolId: toolId('desk.update') })).toEqual({
        kind: 'none',
      });
    } finally {
      await setToolEnabled(line.db('acme'), toolId('desk.update'), true);
    }
  });
});

describe('approvals', () => {
  const EVERY_WORKSPACE = {};
  const ASK = {
    id: 'ask',
    effect: 'allow',
    tools: ['desk.update'],
    approval: { approvers: ['admin'], expiresInSeconds: 600 },
  };
  const deps = () => ({ keyRing: line.keyRing, sealArguments: sealArgumentsWith(line.keyRing) });
  const decide = (approvalId: string, over: object = {}) =>
    decideApproval(
      line.db('acme'),
      deps(),
      {
        approvalId,
        decision: 'approved',
        decidedBy: 'key:boss',
        role: 'admin',
        reason: undefined,
        ...over,
      },
      EVERY_WORKSPACE,
    );
  const ask = async (args: Json): Promise<string> => {
    const answer = await host.call(run, 'desk.update', args);
    expect(answer).toMatchObject({ kind: 'approval_required', reason: { rule: 'ask' } });
    return answer.kind === 'approval_required' ? answer.approvalId : '';
  };
  beforeEach(() => line.publish('acme', [ASK as Json]));

  it('shows exactly the arguments, allows exactly them, and once', async () => {
    const id = await ask({ id: 'T-1', text: 'this' });
    expect(await ask({ id: 'T-1', text: 'this' })).toBe(id);
    const { nodes } = await listApprovals(line.db('acme'), line.keyRing, {
      first: 10,
      state: 'pending',
      within: EVERY_WORKSPACE,
    });
    expect(nodes.find((node) => node.id === id)).toMatchObject({
      arguments: { id: 'T-1', text: 'this' },
      rule: 'ask',
      requestedBy: 'key:starter',
      consequences: {
        description: (await findTool(line.db('acme'), 'desk.update')).description,
        effect: 'write',
        idempotency: 'keyed',
        credential: 'desk',
        destination: `PATCH http://${line.tool.host}/things/T-1`,
        adapter: 'http',
        toolVersion: 1,
      },
    });
    await decide(id);
    expect(await ask({ id: 'T-1', text: 'that' })).not.toBe(id);
    expect(line.tool.requests).toEqual([]);
    expect(await host.call(run, 'desk.update', { id: 'T-1', text: 'this' })).toMatchObject({ kind: 'ok' });
    expect((await host.call(run, 'desk.update', { id: 'T-1', text: 'this' }, { n: 1 })).kind).toBe(
      'approval_required',
    );
    expect(line.tool.requests).toHaveLength(1);
  });

  it('attack: whoever asked approves, or another role, or another tenant, or twice', async () => {
    const id = await ask({ id: 'T-2' });
    await expect(decide(id, { decidedBy: 'key:starter' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(decide(id, { role: 'operator' })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const foreign = {
      approvalId: id,
      decision: 'approved',
      decidedBy: 'key:x',
      role: 'admin',
      reason: undefined,
    } as const;
    await expect(decideApproval(line.db('globex'), deps(), foreign, EVERY_WORKSPACE)).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    await decide(id, { decision: 'rejected', reason: 'too bold' });
    await expect(decide(id)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    expect(await host.call(run, 'desk.update', { id: 'T-2' })).toMatchObject({
      kind: 'denied',
      reason: { message: expect.stringContaining('too bold') },
    });
    expect(line.tool.requests).toEqual([]);
  });

  describe('of a run that people steer', () => {
    const order = (action: RunAction) =>
      requestRun(
        line.db('acme'),
        { runId: run.runId, action, reason: 'x', actor: 'key:oncall-1', idempotencyKey: run.runId },
        deps(),
      );
    beforeAll(() =>
      // a person with two keys
      line.database.asOwner(
        `INSERT INTO api_keys (tenant_id, prefix, hash, name, role, owner) VALUES
           ('acme', 'oncall-1', '\\x01', 'x', 'admin', 'user:ann'), ('acme', 'oncall-2', '\\x02', 'x', 'admin', 'user:ann')`,
      ),
    );
    beforeEach(() =>
      line.database.asOwner(
        `UPDATE runs SET workflow_type = 'longChain', started_at = now() WHERE id = '${run.runId}'`,
      ),
    );

    it.each<[string, RunAction]>([
      ['sent it a signal', { kind: 'signal', name: 'enough' }],
      ['sent it back', { kind: 'reset', point: { to: 'first' } }],
    ])('attack: whoever %s approves its calls, old and new, also with another key', async (_, action) => {
      const before = await ask({ id: 'T-4' });
      await order(action);
      const after = await ask({ id: 'T-5' });
      for (const decidedBy of ['key:oncall-1', 'key:oncall-2', 'user:ann'])
        for (const id of [before, after])
          await expect(decide(id, { decidedBy })).rejects.toMatchObject({ code: 'FORBIDDEN' });
      expect(await decide(after)).toMatchObject({ id: after, state: 'approved' });
    });

    it('whoever only wanted it to end has told it nothing', async () => {
      const id = await ask({ id: 'T-4' });
      await order({ kind: 'cancel' });
      expect(await decide(id, { decidedBy: 'key:oncall-2' })).toMatchObject({ id, state: 'approved' });
    });
  });

  it('expires, and a rule that changed asks again', async () => {
    const id = await ask({ id: 'T-3' });
    await decide(id);
    await line.publish('acme', [
      { ...ASK, approval: { approvers: ['operator'], expiresInSeconds: 600 } } as Json,
    ]);
    const again = await host.call(run, 'desk.update', { id: 'T-3' });
    expect(again).toMatchObject({ kind: 'approval_required' });
    await line.database.asOwner(
      "UPDATE approvals SET expires_at = now() - interval '1 second' WHERE run_id = $1",
      [run.runId],
    );
    expect(await host.call(run, 'desk.update', { id: 'T-3' })).toMatchObject({ kind: 'approval_expired' });
  });

  it('attack: a call is approved, and its tool is pointed elsewhere before it is made', async () => {
    const declare = (path: string): Promise<unknown> =>
      putTool(line.db('acme'), 'open.move', {
        adapter: 'http',
        description: 'x',
        inputSchema: { type: 'object', properties: {}, additionalProperties: false },
        url: `${line.tool.url}/${path}`,
        method: 'POST',
        effect: 'irreversible',
        idempotency: 'none',
      });
    await declare('here');
    await line.publish('acme', [{ ...ASK, tools: ['open.move'] } as Json]);
    const first = await host.call(run, 'open.move', {});
    if (first.kind !== 'approval_required') throw new Error(`it was answered ${first.kind}`);
    await decide(first.approvalId);
    await declare('there');
    const second = await host.call(run, 'open.move', {});
    expect(second).toMatchObject({ kind: 'approval_required' });
    expect(second).not.toMatchObject({ approvalId: first.approvalId });
    expect(line.tool.requests).toEqual([]);
  });
});
