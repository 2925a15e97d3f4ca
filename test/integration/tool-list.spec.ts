import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildStopId, tenantId, toolId } from '@bulkhead/contract';
import type { Envelope, Json, ListedTool, ToolList } from '@bulkhead/contract';
import { createPolicy } from '@bulkhead/policy/line';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { resumeCalls, stopCalls } from '@bulkhead/tenancy/admin';
import type { StopScope, StopState } from '@bulkhead/tenancy/admin';
import { findTool, putTool, setToolEnabled } from '@bulkhead/tool-gateway/admin';
import { createToolList } from '@bulkhead/tool-gateway/line';
import type { ToolLister } from '@bulkhead/tool-gateway/line';
import { randomUlid } from '../support/cross-tenant.js';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

/** What a run is told of the tools that it may call, on the real database and the evaluator of real calls. */
let line: LineUnderTest;
let host: Host;
let run: Envelope;
let list: ToolLister;

beforeAll(async () => {
  line = await openLine();
  host = await line.newHost();
  await line.database.asOwner(
    "INSERT INTO agents (tenant_id, id, workspace_id, name, description, workflow_type, input_schema) SELECT 'acme', a, 'main', a, a, 'none', '{}' FROM unnest(ARRAY['tester', 'other']) a",
  );
  list = createToolList({ door: line.door, policy: createPolicy({ door: line.door }) });
});
afterAll(() => line?.close());
beforeEach(async () => {
  await line.publish('acme', [ALLOW_ALL]);
  run = await line.newRun('acme');
});

const db = () => line.db('acme');
async function listed(which: { system?: string; after?: string } = {}): Promise<ToolList> {
  const answer = await list(run, which);
  if (answer.kind !== 'tools') throw new Error(`no list: ${JSON.stringify(answer)}`);
  return answer;
}
const standings = async () =>
  Object.fromEntries((await listed()).tools.map(({ id, standing }) => [id, standing]));
const stop = async (
  state: StopState,
  scope: StopScope = 'tenant',
  target = '',
): Promise<() => Promise<void>> => {
  const id = buildStopId(tenantId('acme'), randomUlid());
  await stopCalls(db(), { id, scope, target, state, end: false, reason: 'a drill', actor: 'key:admin' });
  return () => resumeCalls(db(), { id, reason: 'over', actor: 'key:admin' });
};
const declare = async (id: string, more: object): Promise<void> => {
  const { spec } = await findTool(db(), 'open.send');
  await putTool(db(), id, { ...(spec as { [name: string]: Json }), url: `${line.tool.url}/things`, ...more });
};

describe('the list of a run', () => {
  it('is narrowed by the policy, as its calls are: allowed, conditional, for a person to agree to, or not in it', async () => {
    await line.publish('acme', [
      { id: 'read', effect: 'allow', tools: ['desk.read'] },
      { id: 'some', effect: 'allow', tools: ['open.send'], when: { 'args.id': { eq: 'T-1' } } },
      {
        id: 'ask',
        effect: 'allow',
        tools: ['desk.update'],
        approval: { approvers: ['admin'], expiresInSeconds: 60 },
      },
    ]);
    expect(await standings()).toEqual({
      'desk.read': 'allowed',
      'desk.update': 'needsApproval',
      'open.send': 'conditional',
    });
    expect(await host.call(run, 'desk.send', { id: 'T-1' })).toMatchObject({ kind: 'denied' });
    const [read] = (await listed()).tools;
    expect(read).toMatchObject({ effect: 'read', description: 'x', inputSchema: { required: ['id'] } });
    // nothing of where it goes, and of what it uses
    expect(JSON.stringify(await listed())).not.toMatch(/127\.0\.0\.1|authorization|credential/);
  });

  it('shows what was published a moment ago, and is no permission: the call is judged by what is in force then', async () => {
    expect(await standings()).toMatchObject({ 'open.send': 'allowed' });
    await line.publish('acme', [{ id: 'read', effect: 'allow', tools: ['desk.read'] }]);
    expect(await standings()).toEqual({ 'desk.read': 'allowed' });
    expect(await host.call(run, 'open.send', { id: 'T-1' })).toMatchObject({ kind: 'denied' });
  });

  it('has no tool that is off, nor one of another system when one is asked for', async () => {
    await setToolEnabled(db(), toolId('open.send'), false);
    expect(Object.keys(await standings())).toEqual(['desk.read', 'desk.send', 'desk.update']);
    await setToolEnabled(db(), toolId('open.send'), true);
    expect((await listed({ system: 'open' })).tools.map(({ id }) => id)).toEqual(['open.send']);
    expect((await listed({ system: 'des' })).tools).toEqual([]);
  });

  it("is of the run's own tenant", async () => {
    await declare('acme.only', {});
    const theirs = await list(await line.newRun('globex'), {});
    expect(theirs).toMatchObject({ kind: 'tools' });
    expect(JSON.stringify(theirs)).not.toContain('acme.only');
    await setToolEnabled(db(), toolId('acme.only'), false);
  });
});

describe('what fails closed', () => {
  it('a stop of the whole tenant, of the agent, and a kill: the run is parked as its calls are, and shows it', async () => {
    for (const [state, scope, target] of [
      ['paused', 'tenant', ''],
      ['killed', 'tenant', ''],
      ['paused', 'agent', 'tester'],
    ] as const) {
      const resume = await stop(state, scope, target);
      expect(await list(run, {})).toMatchObject({ kind: 'parked', state, reason: { message: 'a drill' } });
      const shown = () => line.database.asOwner('SELECT state FROM runs WHERE id = $1', [run.runId]);
      expect(await shown()).toEqual([{ state }]);
      await resume();
      expect(await standings()).toMatchObject({ 'desk.read': 'allowed' });
      expect(await shown()).toEqual([{ state: 'running' }]);
    }
  });

  it('a tool that is stopped is not in it, nor are writes of a tenant that is frozen or may only read', async () => {
    const lift = await stop('paused', 'tool', 'desk.update');
    expect(Object.keys(await standings())).toEqual(['desk.read', 'desk.send', 'open.send']);
    await lift();
    for (const state of ['frozen', 'read_only'] as const) {
      const resume = await stop(state);
      expect(Object.keys(await standings())).toEqual(['desk.read']);
      await resume();
    }
    const elsewhere = await stop('paused', 'agent', 'other');
    expect(Object.keys(await standings())).toHaveLength(4);
    await elsewhere();
  });

  it('a tenant that is suspended', async () => {
    await line.database.asOwner("UPDATE tenants SET status = 'suspended' WHERE id = 'acme'");
    expect(await list(run, {})).toMatchObject({ kind: 'parked', state: 'paused' });
    await line.database.asOwner("UPDATE tenants SET status = 'active' WHERE id = 'acme'");
  });

  it('no policy and one that cannot be read allow nothing; one that does not answer is a fault and no list', async () => {
    expect(await list({ ...run, policyProfile: 'nobody' }, {})).toMatchObject({ kind: 'tools', tools: [] });
    await line.database.asOwner(
      `UPDATE policies SET document = '{"rules":[{"id":7}]}' WHERE tenant_id = 'acme' AND version = (SELECT version FROM policy_heads WHERE tenant_id = 'acme' AND profile = 'default')`,
    );
    const anew = createToolList({ door: line.door, policy: createPolicy({ door: line.door }) });
    expect(await anew(run, {})).toEqual({ kind: 'tools', tools: [], of: { runId: run.runId } });
    const slow = {
      tenant: () => ({ read: () => new Promise(() => undefined) }),
    } as unknown as Pick<TenantDoor, 'tenant'>;
    const late = createToolList({ door: line.door, policy: createPolicy({ door: slow, deadlineMs: 50 }) });
    await expect(late(run, {})).rejects.toMatchObject({ code: 'POLICY_UNAVAILABLE' });
  });

  it("attack: an ended run, another tenant's run, and a question that is none", async () => {
    const theirs = await line.newRun('globex');
    await expect(list({ ...run, runId: theirs.runId }, {})).rejects.toMatchObject({ code: 'EFFECT_HELD' });
    for (const wrong of [
      { system: 'x%' },
      { system: "a' OR 1=1" },
      { after: 7 },
      { tenantId: 'globex' },
      null,
    ])
      await expect(list(run, wrong as never)).rejects.toMatchObject({ code: 'BAD_INPUT' });
    await line.database.asOwner('UPDATE runs SET finished_at = now() WHERE id = $1', [run.runId]);
    await expect(list(run, {})).rejects.toMatchObject({ code: 'EFFECT_HELD' });
  });
});

describe('what a history can hold', () => {
  const big = (bytes: number): Json => ({
    type: 'object',
    properties: { text: { type: 'string', description: 'y'.repeat(bytes) } },
    additionalProperties: false,
  });

  it('a list is at most 128 KiB and 64 tools, and goes on where it ended: none is told twice, none is left out', async () => {
    const wanted = Array.from({ length: 150 }, (_, n) => `many.t${String(n).padStart(3, '0')}`);
    for (const [n, id] of wanted.entries())
      await declare(id, n % 5 === 0 ? { inputSchema: big(15_000) } : {});
    const seen: ListedTool[] = [];
    let lists = 0;
    for (let after: string | undefined; ;) {
      const { tools, next } = await listed({ system: 'many', ...(after === undefined ? {} : { after }) });
      expect(tools.length).toBeLessThanOrEqual(64);
      expect(Buffer.byteLength(JSON.stringify(tools))).toBeLessThanOrEqual(131_072 + tools.length + 2);
      seen.push(...tools);
      lists += 1;
      if (next === undefined) break;
      after = next;
    }
    expect(seen.map(({ id }) => id)).toEqual(wanted);
    expect(lists).toBeGreaterThan(3);
  });

  it('a schema that is too large is left out, and the tool is told without it', async () => {
    await declare('huge.one', { inputSchema: big(17_000) });
    const [huge] = (await listed({ system: 'huge' })).tools;
    expect(huge).toMatchObject({ id: 'huge.one', standing: 'allowed' });
    expect(huge).not.toHaveProperty('inputSchema');
  });

  it('attack: texts in a description that no person sees; what decides an argument stays to the letter', async () => {
    const hidden = '\u{E0049}\u{E0067}\u200B\u202E\u0007\u{E0158}\uFE01\u3164';
    await declare('sly.one', {
      description: `Sends${hidden} a note. ${'z'.repeat(1_900)}`,
      inputSchema: {
        type: 'object',
        properties: { to: { enum: [`a${hidden}`], description: `who${hidden}` } },
        additionalProperties: false,
      },
    });
    const [sly] = (await listed({ system: 'sly' })).tools;
    expect(sly?.description).toHaveLength(1_000);
    expect(sly?.description).toMatch(/^Sends +a note\. z+$/);
    expect(sly?.inputSchema).toMatchObject({
      properties: { to: { enum: [`a${hidden}`], description: expect.stringMatching(/^who +$/) } },
    });
  });
});
