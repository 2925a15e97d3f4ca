import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import { createTenant } from '@bulkhead/tenancy/admin';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { grant } from '../support/quotas.js';

const INITECH = tenantId('initech');

describe('a new tenant', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(() => api?.close());

  it('has a key that an admin rotates, with who and why in the journal, and what it sealed stays readable', async () => {
    const rotate =
      'mutation ($reason: String!) { rotateTenantKey(reason: $reason) { keyId state createdAt } }';
    const admin = await api.key(ACME, 'admin');
    const input = { agentId: AGENT, idempotencyKey: 'k', input: { ticketId: 'T-1' } };
    const start = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
    const { id } = field<{ id: string }>(await api.ask(admin, start, { input }), 'startRun');
    const known = '{ tenantKeys { keyId state } }';
    const [before] = field<{ keyId: string }[]>(await api.ask(admin, known), 'tenantKeys');
    const others = field(await api.ask(await api.key(GLOBEX, 'admin'), known), 'tenantKeys');

    const keys = field<{ keyId: string; state: string }[]>(
      await api.ask(admin, rotate, { reason: ' yearly ' }),
      'rotateTenantKey',
    );
    expect(keys.map(({ state }) => state)).toEqual(['active', 'retired']);
    expect(keys[1]?.keyId).toBe(before?.keyId);
    expect(field(await api.ask(admin, `{ run(id: "${id}") { input } }`), 'run')).toEqual({
      input: { ticketId: 'T-1' },
    });
    const [record] = await api.database.asOwner(
      "SELECT tenant_id, body FROM journal_records WHERE body->>'change' = 'tenant_key_rotated'",
    );
    expect(record).toEqual({
      tenant_id: 'acme',
      body: {
        change: 'tenant_key_rotated',
        actor: `key:${admin.slice(4, 12)}`,
        reason: 'yearly',
        from: before?.keyId,
        to: keys[0]?.keyId,
      },
    });
    expect(field(await api.ask(await api.key(GLOBEX, 'admin'), known), 'tenantKeys')).toEqual(others);
    expect(JSON.stringify(await api.ask(admin, '{ tenantKeys { keyId state createdAt } }'))).not.toContain(
      'wrapped',
    );
  });

  it('is told to the control process, may do nothing yet, and has a key of its own', async () => {
    const heard: string[] = [];
    const stop = await api.deps.control.listen('bulkhead_tenants', (payload) => heard.push(payload));
    const db = api.deps.door.tenant(INITECH);
    expect(await createTenant(db, api.keyRing, { name: 'Initech' })).toEqual({ created: true });
    await expect.poll(() => heard).toContain('initech');
    await stop();

    const [policy] = await api.database.asOwner(
      "SELECT h.version, p.document FROM policy_heads h JOIN policies p USING (tenant_id, profile, version) WHERE h.tenant_id = 'initech'",
    );
    expect(policy).toEqual({ version: 1, document: { rules: [] } });
    const [tenant] = await api.database.asOwner(
      "SELECT status, namespace, task_queue FROM tenants WHERE id = 'initech'",
    );
    expect(tenant).toEqual({
      status: 'provisioning',
      namespace: 'tnt-initech',
      task_queue: 'tnt-initech.agents',
    });
    const sealed = await api.keyRing.seal(INITECH, 'test', Buffer.from('x'));
    expect((await api.keyRing.open(INITECH, 'test', sealed)).toString()).toBe('x');
  });

  it('is made once, and keeps its key and policy when it is made again', async () => {
    const id = tenantId('hooli');
    const db = api.deps.door.tenant(id);
    const rows = async (): Promise<unknown> =>
      api.database.asOwner(
        "SELECT t.name, k.key_id, h.version FROM tenants t JOIN tenant_keys k ON k.tenant_id = t.id JOIN policy_heads h ON h.tenant_id = t.id WHERE t.id = 'hooli'",
      );
    const made = await Promise.all(
      [1, 2, 3].map((n) => createTenant(db, api.keyRing, { name: `Hooli ${n}` })),
    );
    expect(made.filter((answer) => answer.created)).toHaveLength(1);
    const before = await rows();
    expect(before).toHaveLength(1);
    expect(await createTenant(db, api.keyRing, { name: 'Other' })).toEqual({ created: false });
    expect(await rows()).toEqual(before);
  });
});

describe('what a tenant has used today', () => {
  it('is shown by layer, with a limit where there is one', async () => {
    const api = await startApi();
    try {
      await grant(api.deps.door.tenant(ACME), 'cost_micros_per_day', 5_000_000_000_000);
      const { data } = await api.ask(await api.key(ACME, 'viewer'), '{ quotas { layer limit used } }');
      expect(data).toEqual({
        quotas: [
          { layer: 'tool_calls_per_day', limit: 1_000, used: 0 },
          { layer: 'cost_micros_per_day', limit: 5_000_000_000_000, used: 0 },
        ],
      });
    } finally {
      await api.close();
    }
  });
});
