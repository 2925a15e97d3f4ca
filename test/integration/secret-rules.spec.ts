import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Envelope, GrantId } from '@bulkhead/contract';
import { toolId } from '@bulkhead/contract';
import { changeSecret, listSecrets, rotateSecret } from '@bulkhead/secret-broker/admin';
import type { RuleChange } from '@bulkhead/secret-broker/admin';
import { ALLOW_ALL, openLine, SECRET } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';

let line: LineUnderTest;
let host: Host;
let run: Envelope;
let grantId: GrantId;
let calls = 0;

beforeAll(async () => {
  line = await openLine();
  await line.publish('acme', [ALLOW_ALL]);
  host = await line.newHost();
  run = await line.newRun('acme');
  const grant = await line.broker.secretBroker(run, { toolId: toolId('desk.read') });
  if (grant.kind !== 'grant') throw new Error(grant.kind);
  grantId = grant.grantId;
});
afterAll(() => line.close());

const BY = { actor: 'user:ann', reason: 'only reads' };
const change = (rules: RuleChange, name = 'desk') => changeSecret(line.db('acme'), name, rules, BY);
/** With the grant that the run was given at the beginning, whatever has changed since. */
const call = async (): Promise<string> => {
  calls += 1;
  const request = { toolId: toolId('desk.read'), args: { id: `T-${calls}` }, segment: 0, n: 0, grantId };
  const answer = await host.gateway(run, request, {
    workflowId: run.runId,
    temporalRunId: 't',
    onExpensiveQueue: false,
    attempt: 1,
    host: host.id,
    token: `token-${calls}`,
    signal: new AbortController().signal,
    heartbeat: () => undefined,
  });
  return answer.kind;
};

describe('the rules of a secret, changed without its value', () => {
  it('reach a run that has a grant with its next call, and back again', async () => {
    expect(await call()).toBe('ok');
    for (const rules of [{ tools: ['desk.update'] }, { agents: ['somebody-else'] }] as const) {
      await change(rules);
      expect(await call()).toBe('grant_stale');
      await change({ tools: null, agents: null });
      expect(await call()).toBe('ok');
    }
    expect(line.tool.requests.at(-1)?.headers).toMatchObject({ authorization: `Bearer ${SECRET}` });
  });

  it('attack: a host that was taken from it is not sent to, although this process remembers it', async () => {
    expect(await call()).toBe('ok');
    const sent = line.tool.requests.length;
    await change({ boundHosts: ['elsewhere.example'] });
    expect(await call()).toBe('denied');
    expect(line.tool.requests).toHaveLength(sent);
    await change({ boundHosts: [line.tool.host] });
    expect(await call()).toBe('ok');
  });

  it('keep value and version, have a number of their own, and are journalled as what they were and are', async () => {
    const before = (await listSecrets(line.db('acme')))[0]!;
    const { rulesVersion } = await change({ access: 'read', purpose: 'tickets', tools: ['desk.read'] });
    expect(rulesVersion).toBe(before.rulesVersion + 1);
    expect((await listSecrets(line.db('acme')))[0]).toMatchObject({
      ...before,
      access: 'read',
      purpose: 'tickets',
      tools: ['desk.read'],
      rulesVersion,
      lastGrantedAt: expect.any(Date),
    });
    const [record] = await line.database.asOwner<{ body: object }>(
      "SELECT body FROM journal_records WHERE tenant_id = 'acme' AND body->>'change' = 'secret_changed' ORDER BY id DESC LIMIT 1",
    );
    expect(record?.body).toEqual({
      change: 'secret_changed',
      secret: 'desk',
      rulesVersion,
      before: { access: 'mutate', purpose: '', tools: null },
      after: { access: 'read', purpose: 'tickets', tools: ['desk.read'] },
      by: BY.actor,
      reason: BY.reason,
    });
    // the same again is no change
    expect(await change({ access: 'read' })).toEqual({ rulesVersion });
    expect(await change({ access: 'mutate', tools: null, purpose: '' })).toEqual({
      rulesVersion: rulesVersion + 1,
    });
  });

  it('of a secret that is not there, or that are none, are refused', async () => {
    await expect(change({ access: 'read' }, 'nobody')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    for (const rules of [
      { boundHosts: [] },
      { boundHosts: ['https://x/y'] },
      { agents: [] },
      { tools: [''] },
    ])
      await expect(change(rules)).rejects.toMatchObject({ code: 'BAD_INPUT' });
  });

  it('count a rotation that changes them', async () => {
    const { rulesVersion } = (await listSecrets(line.db('acme')))[0]!;
    await rotateSecret(line.db('acme'), line.keyRing, { name: 'desk', value: 'another-value-1' }, BY);
    expect((await listSecrets(line.db('acme')))[0]!.rulesVersion).toBe(rulesVersion + 1);
  });

  it('attack: that change while a new value is being sealed are not undone by the rotation', async () => {
    await change({ boundHosts: ['a.example', 'evil.example'], agents: null });
    const seal: typeof line.keyRing.seal = async (...sealed) => {
      await change({ boundHosts: ['a.example'], agents: ['tester'], access: 'read' });
      return line.keyRing.seal(...sealed);
    };
    const rotation = { name: 'desk', value: 'another-value-2', purpose: 'yearly' };
    const { version } = await rotateSecret(line.db('acme'), { seal }, rotation, BY);
    expect((await listSecrets(line.db('acme')))[0]).toMatchObject({
      version,
      boundHosts: ['a.example'],
      agents: ['tester'],
      access: 'read',
      purpose: 'yearly',
    });
  });
});
