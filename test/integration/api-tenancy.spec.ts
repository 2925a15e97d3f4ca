import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import { createTenant } from '@bulkhead/tenancy/admin';
import { setQuota } from '@bulkhead/quota/admin';
import { ACME, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

const INITECH = tenantId('initech');

describe('a new tenant', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(() => api?.close());

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
      await setQuota(api.deps.door.tenant(ACME), 'cost_micros_per_day', 5_000_000_000_000);
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
