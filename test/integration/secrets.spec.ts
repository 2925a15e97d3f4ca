import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildRevocationId, CHANNELS, tenantId, toolId } from '@bulkhead/contract';
import type { Envelope, HostId } from '@bulkhead/contract';
import {
  createSecret,
  liftRevocation,
  listRevocations,
  listSecrets,
  revokeSecrets,
  rotateSecret,
} from '@bulkhead/secret-broker/admin';
import type { RevocationOrder, SecretRules } from '@bulkhead/secret-broker/admin';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { createStopWatch } from '../../apps/worker/src/host/stop-watch.js';
import { randomUlid } from '../support/cross-tenant.js';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { until } from '../support/until.js';

const ACME = tenantId('acme');
const BY = { actor: 'key:admin', reason: 'a drill' };
const VALUE = 'sk-first-value-1';

let line: LineUnderTest;
let host: Host;
let run: Envelope;
let names = 0;
let name = '';
let tool = '';
const ends: (() => Promise<void>)[] = [];

const revoke = (order: Partial<RevocationOrder> & Pick<RevocationOrder, 'scope'>) =>
  revokeSecrets(line.db('acme'), {
    id: buildRevocationId(ACME, randomUlid()),
    secret: undefined,
    version: undefined,
    target: undefined,
    dryRun: false,
    boundMs: 800,
    ...BY,
    ...order,
  });
const create = (rules: Partial<SecretRules> = {}) =>
  createSecret(
    line.db('acme'),
    line.keyRing,
    { name, value: VALUE, access: 'mutate', boundHosts: [line.tool.host], purpose: '', ...rules },
    BY,
  );
const call = (id = 'T-1', which = tool) => host.call(run, which, { id });
/** A workflow that presents a grant it has, without asking the broker. */
const present = (grantId: string, which: string, id: string) =>
  host.gateway(
    run,
    { toolId: toolId(which), args: { id }, segment: 0, n: 0, grantId: grantId as never },
    {
      workflowId: run.runId,
      temporalRunId: 'replay',
      onExpensiveQueue: false,
      attempt: 3,
      host: host.id,
      token: 'replay',
      signal: new AbortController().signal,
      heartbeat: () => undefined,
    },
  );
const grantOf = async (which = tool): Promise<string> => {
  const granted = await line.broker.secretBroker(run, { toolId: toolId(which) });
  return granted.kind === 'grant' ? granted.grantId : granted.kind;
};
const sent = (): (string | undefined)[] => line.tool.requests.map((request) => request.headers.authorization);
async function declare(id: string, over: object = {}): Promise<void> {
  await putTool(line.db('acme'), id, {
    adapter: 'http',
    description: 'x',
    inputSchema: {
      type: 'object',
      properties: { id: { type: 'string', maxLength: 64 } },
      required: ['id'],
      additionalProperties: false,
    },
    url: `${line.tool.url}/things/{id}`,
    method: 'PATCH',
    effect: 'write',
    idempotency: 'keyed',
    credential: { secret: name, slot: { header: 'authorization', prefix: 'Bearer ' } },
    timeoutMs: 2_000,
    ...over,
  });
}

beforeAll(async () => {
  line = await openLine();
  await line.database.asOwner(
    `INSERT INTO agents (tenant_id, id, workspace_id, name, description, workflow_type, input_schema, quota_class)
     VALUES ('acme', 'tester', 'main', 'x', 'x', 'none', '{}', 'standard')`,
  );
});
afterAll(async () => {
  await Promise.all(ends.map((end) => end()));
  await line.close();
});
beforeEach(async () => {
  line.tool.requests.length = 0;
  line.tool.answer = () => ({ done: true });
  names += 1;
  name = `key-${names}`;
  tool = `sys${names}.update`;
  await declare(tool);
  host = await line.newHost();
  const watch = createStopWatch({
    door: line.door,
    hostId: host.id as HostId,
    inFlight: host.inFlight,
    onError: (error) => {
      throw error;
    },
  });
  ends.push(await line.door.listen(CHANNELS.control, (tenant) => void watch.hint(tenant)));
  run = await line.newRun('acme');
});

describe('who may use a secret', () => {
  it.each([
    ['an agent on its list', { agents: ['tester'] }, 'ok'],
    ['an agent of a class on its list', { agents: ['class:standard'] }, 'ok'],
    ['no other agent', { agents: ['other', 'class:gold'] }, 'denied'],
    ['no tool that is not on its list', { tools: ['other.tool'] }, 'denied'],
    ['a tool that changes something, not when it is for reading', { access: 'read' as const }, 'denied'],
    ['any of several hosts', { boundHosts: ['api.example.com', 'HOST'] }, 'ok'],
    ['no other host', { boundHosts: ['api.example.com', 'b.example.com'] }, 'denied'],
  ])('%s', async (_, rules, expected) => {
    const boundHosts = (rules as { boundHosts?: string[] }).boundHosts?.map((bound) =>
      bound === 'HOST' ? line.tool.host : bound,
    );
    await create({ ...rules, ...(boundHosts ? { boundHosts } : {}) });
    expect((await call()).kind).toBe(expected);
    expect(sent()).toEqual(expected === 'ok' ? [`Bearer ${VALUE}`] : []);
  });

  it('attack: the grant for one tool of a system is presented for another, which is not on the list', async () => {
    const other = `sys${names}.erase`;
    await declare(other);
    await create({ tools: [tool] });
    const grantId = await grantOf();
    expect((await present(grantId, other, 'T-1')).kind).toBe('grant_stale');
    expect((await call('T-1', other)).kind).toBe('denied');
    expect(sent()).toEqual([]);
    expect((await present(grantId, tool, 'T-1')).kind).toBe('ok');
  });

  it.each([
    ['tools', "tools = '{other.tool}'", "tools = ARRAY['TOOL']"],
    ['agents', "agents = '{other,class:gold}'", "agents = '{class:standard}'"],
    ['use', "access = 'read'", "access = 'mutate'"],
  ])(
    'a rule about %s that is narrowed ends what was granted under the wider one',
    async (_, narrow, wide) => {
      const rule = (set: string) =>
        line.database.asOwner(`UPDATE secrets SET ${set.replace('TOOL', tool)} WHERE name = $1`, [name]);
      await create();
      const grantId = await grantOf();
      await rule(narrow);
      expect((await present(grantId, tool, 'T-1')).kind).toBe('grant_stale');
      expect(await call('T-1')).toMatchObject({ kind: 'denied', reason: { layer: 'credentials' } });
      expect(sent()).toEqual([]);
      await rule(wide);
      expect((await present(grantId, tool, 'T-1')).kind).toBe('ok');
    },
  );

  it('each grant is journalled with name and version, and nothing anywhere in the database shows the value', async () => {
    await create();
    await call();
    await call('T-2');
    const grants = await line.database.asOwner(
      "SELECT body - 'grantId' AS body FROM journal_records WHERE run_id = $1 AND kind = 'grant'",
      [run.runId],
    );
    expect(grants).toEqual([{ body: { secret: name, version: 1, access: 'mutate', toolId: tool } }]);
    const secret = (await listSecrets(line.db('acme'))).find((known) => known.name === name);
    expect(secret?.lastGrantedAt).toBeInstanceOf(Date);
    const tables = await line.database.asOwner<{ name: string }>(
      "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'",
    );
    for (const table of tables) {
      const rows = await line.database.asOwner(
        `SELECT 1 FROM ${table.name} t WHERE t::text LIKE '%${VALUE}%'`,
      );
      expect(rows, table.name).toEqual([]);
    }
  });

  it('rotation takes the next call to the new value, keeps its rules, and asks nobody', async () => {
    await create({ agents: ['tester'] });
    await call();
    expect(await rotateSecret(line.db('acme'), line.keyRing, { name, value: 'sk-second-value' }, BY)).toEqual(
      {
        version: 2,
      },
    );
    expect(await call('T-2')).toMatchObject({ kind: 'ok' });
    expect(sent()).toEqual([`Bearer ${VALUE}`, 'Bearer sk-second-value']);
    const secret = (await listSecrets(line.db('acme'))).find((known) => known.name === name);
    expect(secret).toMatchObject({ version: 2, agents: ['tester'], access: 'mutate' });
  });

  it('a name that is taken is not overwritten, one that is not there is not rotated, a bad value is not quoted', async () => {
    await create();
    await expect(create()).rejects.toMatchObject({ code: 'INVALID_STATE', field: 'name' });
    const ask = (change: { name: string; value: string }) =>
      rotateSecret(line.db('acme'), line.keyRing, change, BY);
    await expect(ask({ name: 'nobody', value: 'sk-whatever-1' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    });
    const refused = await ask({ name, value: 'has a space in it' }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'BAD_INPUT', field: 'value' });
    expect(JSON.stringify(refused) + String((refused as Error).stack)).not.toContain('a space in it');
  });
});

describe('revocation', () => {
  const orders = (): [string, Pick<RevocationOrder, 'scope'> & Partial<RevocationOrder>][] => [
    ['secret', { scope: 'secret', secret: name }],
    ['version', { scope: 'version', secret: name, version: 1 }],
    ['agent', { scope: 'agent', target: 'tester' }],
    ['tool', { scope: 'tool', target: tool }],
    ['tenant', { scope: 'tenant' }],
  ];

  it.each([0, 1, 2, 3, 4])(
    'by scope %i: counted first, then refused for calls, retries and other runs',
    async (index) => {
      await create();
      await call();
      const [scope, order] = orders()[index]!;
      const counted = await revoke({ ...order, dryRun: true });
      expect(counted).toMatchObject({
        id: undefined,
        versions: scope === 'secret' || scope === 'version' ? 1 : 0,
      });
      expect(counted.grants).toBeGreaterThan(0);
      expect(await call('T-2')).toMatchObject({ kind: 'ok' });
      const revoked = await revoke(order);
      expect(revoked).toMatchObject({ inForce: true, versions: counted.versions, grants: counted.grants });
      const before = line.tool.requests.length;
      const granted = await line.database.asOwner<{ id: string }>('SELECT id FROM grants WHERE run_id = $1', [
        run.runId,
      ]);
      for (const id of ['T-3', 'T-3']) expect(await call(id)).toMatchObject({ kind: 'denied' });
      // a workflow that presents the grant it had: admit finds it stale, whatever the broker said
      const replay = await present(granted[0]!.id, tool, 'T-4');
      expect(replay.kind).toBe('grant_stale');
      run = await line.newRun('acme');
      expect(await call('T-5')).toMatchObject({ kind: 'denied' });
      expect(line.tool.requests).toHaveLength(before);
      // what was taken from somebody is given back; a revoked value is dead, and its successor lives
      const final = scope === 'secret' || scope === 'version';
      const lifted = await liftRevocation(line.db('acme'), { id: revoked.id ?? '', ...BY }).then(
        () => 'lifted',
        (error: { code?: string }) => error.code,
      );
      expect(lifted).toBe(final ? 'INVALID_STATE' : 'lifted');
      if (final) await rotateSecret(line.db('acme'), line.keyRing, { name, value: 'sk-after-leak' }, BY);
      expect(await call('T-5')).toMatchObject({ kind: 'ok' });
    },
  );

  it('a request under way with it is broken off, and only then is it in force', async () => {
    await create();
    line.tool.answer = () => 'hang';
    const hanging = call().catch((error: unknown) => error);
    await until(() => line.tool.requests.length === 1);
    expect(await revoke({ scope: 'secret', secret: name })).toMatchObject({ calls: 1, inForce: true });
    expect(await hanging).toMatchObject({ kind: 'grant_stale' });
  });

  it('a repeat that goes out with a newer value is found by the revocation of that value', async () => {
    await create();
    line.tool.answer = () => 'hang';
    const first = host.call(run, tool, { id: 'T-1' });
    await until(() => sent().length === 1);
    await line.fence(host);
    await rotateSecret(line.db('acme'), line.keyRing, { name, value: 'sk-second-value' }, BY);
    const deaf = await line.newHost();
    const again = deaf.call(run, tool, { id: 'T-1' });
    await until(() => sent().length === 2);
    expect(sent()[1]).toBe('Bearer sk-second-value');
    const order = { scope: 'version', secret: name, version: 2, boundMs: 300 } as const;
    expect(await revoke(order)).toMatchObject({ calls: 1, inForce: false, waitingFor: [deaf.id] });
    await line.fence(deaf);
    expect(await revoke(order)).toMatchObject({ inForce: true });
    await Promise.allSettled([first, again]);
  });

  it('a tool that takes no key any more is not sent once more what it may have done', async () => {
    await create();
    line.tool.answer = () => 'hang';
    const first = host.call(run, tool, { id: 'T-1' });
    await until(() => sent().length === 1);
    await line.fence(host);
    await declare(tool, { idempotency: 'none' });
    const answer = await (await line.newHost()).call(run, tool, { id: 'T-1' });
    expect(answer).toMatchObject({ kind: 'indeterminate' });
    expect(sent()).toHaveLength(1);
    await Promise.allSettled([first]);
  });

  it('twice is once, and who did it, why and whom it hit stays on record', async () => {
    await create();
    await call();
    const first = await revoke({ scope: 'secret', secret: name });
    expect(await revoke({ scope: 'secret', secret: name })).toEqual(first);
    const [shown] = await listRevocations(line.db('acme'));
    expect(shown).toMatchObject({
      id: first.id,
      scope: 'secret',
      secret: name,
      grants: 1,
      actor: 'key:admin',
    });
  });

  it('attack: lifting one of two revocations gives back what the other still takes', async () => {
    await create();
    await call();
    const states = () =>
      line.database.asOwner<{ state: string }>('SELECT DISTINCT state FROM grants WHERE secret_name = $1', [
        name,
      ]);
    const agent = await revoke({ scope: 'agent', target: 'tester' });
    const tenant = await revoke({ scope: 'tenant' });
    await liftRevocation(line.db('acme'), { id: agent.id ?? '', ...BY });
    expect(await states()).toEqual([{ state: 'revoked' }]);
    await liftRevocation(line.db('acme'), { id: tenant.id ?? '', ...BY });
    expect(await states()).toEqual([{ state: 'active' }]);
    expect(await call('T-2')).toMatchObject({ kind: 'ok' });
  });

  it('attack: foreign, unknown and mixed-up names revoke nothing', async () => {
    const codes = await Promise.all(
      [
        revoke({ scope: 'secret', secret: 'nobody' }),
        revoke({ scope: 'version', secret: 'desk', version: 99 }),
        revoke({ scope: 'agent', target: 'nobody' }),
        revoke({ scope: 'tool', target: "x' OR 1=1" }),
        revoke({ scope: 'tenant', target: 'tester' }),
        revoke({ scope: 'secret' }),
        liftRevocation(line.db('acme'), { id: 'globex.revocation.01kb3v6r2e8m4q7x9z0a1b2c3d', ...BY }),
      ].map((asked) => asked.then(String, (error: { code?: string }) => error.code)),
    );
    expect(codes).toEqual([
      'NOT_FOUND',
      'NOT_FOUND',
      'NOT_FOUND',
      'NOT_FOUND',
      'BAD_INPUT',
      'BAD_INPUT',
      'NOT_FOUND',
    ]);
  });
});
