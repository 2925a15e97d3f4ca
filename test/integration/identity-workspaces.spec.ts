import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentId, buildApprovalId, workspaceId } from '@bulkhead/contract';
import { PURPOSES } from '@bulkhead/runtime/keys';
import { putAgent } from '@bulkhead/tenancy/admin';
import { accessOf } from '../../apps/api/src/auth/access.js';
import { ACME, field, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const APPROVE = 'mutation ($id: ID!) { approve(id: $id) { id } }';
const START = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
const WATCH = 'subscription ($id: ID!) { runChanged(id: $id) { id } }';

/** Two workspaces with an agent, a run and a pending approval each, and a key for each and for both. */
describe('a key of one workspace', () => {
  let api: TestApi;
  let all: string;
  const keys = new Map<string, string>();
  const runs = new Map<string, string>();
  const approvals = new Map<string, string>();

  beforeAll(async () => {
    api = await startApi();
    const db = api.deps.door.tenant(ACME);
    all = await api.key(ACME, 'admin');
    for (const name of ['blue', 'red']) {
      await api.ask(all, 'mutation ($id: ID!) { createWorkspace(input: { id: $id, name: "W" }) { id } }', {
        id: name,
      });
      await putAgent(db, {
        id: agentId(`agent-${name}`),
        workspaceId: workspaceId(name),
        name,
        description: name,
        workflowType: 'supportTriage',
        inputSchema: { type: 'object' },
      });
      const made = await api.ask(
        all,
        'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { key } }',
        { input: { name, role: 'admin', workspaceId: name } },
      );
      keys.set(name, field<{ key: string }>(made, 'createApiKey').key);
      const started = await start(name, all, name);
      const run = field<{ id: string }>(started, 'startRun').id;
      runs.set(name, run);
      const approval = buildApprovalId(
        ACME,
        `01kb3v6r2e8m4q7x9z0a1b${name.padEnd(4, '0').replaceAll('u', '1').replaceAll('l', '2')}`,
      );
      approvals.set(name, approval);
      const facts = Buffer.from(JSON.stringify({ facts: { args: {} } }));
      await api.database.asOwner(
        `INSERT INTO approvals (tenant_id, id, run_id, key, digest, tool_id, tool_version, target, rule, approvers, request, requested_by, expires_at)
         VALUES ('acme', $1, $2, $1, '\\x00', 'a.b', 1, 't', 'r', '{admin}', $3, 'key:nobody', now() + interval '1 hour')`,
        [approval, run, await api.keyRing.seal(ACME, PURPOSES.effectRequest, facts)],
      );
    }
  });
  afterAll(() => api?.close());

  const start = (agent: string, key: string, idempotencyKey: string): Promise<Answer> =>
    api.ask(key, START, { input: { agentId: `agent-${agent}`, idempotencyKey, input: {} } });
  const blue = (): string => keys.get('blue') ?? '';
  const ids = async (key: string, query: string): Promise<string[]> => {
    const text = JSON.stringify(await api.ask(key, query));
    return Array.from(text.matchAll(/"id":"([^"]+)"/g), ([, id = '']) => id).toSorted();
  };

  it('lists what belongs to its workspace, where a key of the tenant lists all', async () => {
    const lists = {
      '{ agents { id } }': ['agent-blue', 'agent-red'],
      '{ runs { nodes { id } } }': [runs.get('blue'), runs.get('red')].toSorted(),
      '{ approvals { nodes { id } } }': [approvals.get('blue'), approvals.get('red')].toSorted(),
      '{ workspaces { id } }': ['blue', 'main', 'red'],
    };
    for (const [query, everything] of Object.entries(lists)) {
      expect(await ids(all, query)).toEqual(expect.arrayContaining(everything));
    }
    expect(await ids(blue(), '{ agents { id } }')).toEqual(['agent-blue']);
    expect(await ids(blue(), '{ runs { nodes { id } } }')).toEqual([runs.get('blue')]);
    expect(await ids(blue(), '{ approvals { nodes { id } } }')).toEqual([approvals.get('blue')]);
    expect(await ids(blue(), '{ workspaces { id } }')).toEqual(['blue']);
  });

  it('meets things of another workspace exactly as things that do not exist', async () => {
    const unknown = '01kb3v6r2e8m4q7x9z0a1b2c3d';
    const pairs: [string, Record<string, unknown>, Record<string, unknown>][] = [
      [
        'query ($id: ID!) { run(id: $id) { id journal { kind } } }',
        { id: runs.get('red') },
        { id: `acme.run.${unknown}` },
      ],
      [APPROVE, { id: approvals.get('red') }, { id: `acme.approval.${unknown}` }],
      [
        START,
        { input: { agentId: 'agent-red', idempotencyKey: 'x', input: {} } },
        { input: { agentId: 'agent-none', idempotencyKey: 'x', input: {} } },
      ],
      [
        'mutation ($id: ID!) { cancelRun(id: $id, reason: "x") { id } }',
        { id: runs.get('red') },
        { id: `acme.run.${unknown}` },
      ],
    ];
    for (const [query, other, none] of pairs) {
      const answer = await api.ask(blue(), query, other);
      expect(answer.errors?.[0]?.extensions.code, query).toBe('NOT_FOUND');
      expect(answer).toEqual(await api.ask(blue(), query, none));
    }
    const events = api.subscribe(blue(), WATCH, { id: runs.get('red') });
    await expect(events.next()).rejects.toMatchObject([{ extensions: { code: 'NOT_FOUND' } }]);
    expect(await ids(all, '{ approvals(state: pending) { nodes { id } } }')).toContain(approvals.get('red'));
  });

  it('attack: guesses an idempotency key of another workspace and gets a run of its own, as if nobody had used it', async () => {
    const run = (answer: Answer): string => field<{ id: string }>(answer, 'startRun').id;
    const red = run(await start('red', all, 'guessed'));
    const mine = run(await start('blue', blue(), 'guessed'));
    expect(mine).not.toBe(red);
    expect(run(await start('blue', blue(), 'guessed'))).toBe(mine);
    expect(run(await start('red', all, 'guessed'))).toBe(red);
    const other = { input: { agentId: 'agent-blue', idempotencyKey: 'guessed', input: { other: true } } };
    expect((await api.ask(blue(), START, other)).errors?.[0]?.extensions.code).toBe('IDEMPOTENCY_CONFLICT');
  });

  it('works in its own workspace', async () => {
    expect((await start('blue', blue(), 'mine')).errors).toBeUndefined();
    expect((await api.ask(blue(), APPROVE, { id: approvals.get('blue') })).errors).toBeUndefined();
    const events = api.subscribe(blue(), WATCH, { id: runs.get('blue') });
    expect((await events.next()).done).toBe(false);
    await events.return?.();
  });

  it('without a rule for a list matches no row of it, whatever the list asks besides', async () => {
    const db = api.deps.door.tenant(ACME);
    const nothing = accessOf({ role: 'viewer', responsible: 'key:x' }).where('key:read');
    const everything = accessOf({ role: 'admin', responsible: 'key:x' }).where('key:read');
    const count = (where: object): Promise<number> => db.run((tx) => tx.apiKey.count({ where }));
    expect(await count(everything)).toBeGreaterThan(2);
    expect(await count(nothing)).toBe(0);
    expect(await count({ AND: [nothing, { revokedAt: null }] })).toBe(0);
    expect(await count({ ...nothing, role: 'admin' })).toBe(0);
  });
});
