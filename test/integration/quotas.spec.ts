import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROLES } from '@bulkhead/tenancy/admin';
import { createOperatorKey } from '@bulkhead/tenancy/control';
import { ACME, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { commandOver } from '../support/api-command.js';

/** Who sets what a tenant may use in a day, and what becomes of it. That the next call meets it: quotas-line.spec.ts. */
let api: TestApi;
let platform: string;
let admin: string;

beforeAll(async () => {
  api = await startApi();
  platform = (await createOperatorKey(api.deps.control, { name: 'on call', createdBy: 'test' })).key;
  admin = await api.key(ACME, 'admin');
});
afterAll(() => api?.close());

const CALLS = 'tool_calls_per_day';
const COSTS = 'cost_micros_per_day';
const SHOWN = '{ layer limit granted own used resetsAt }';
interface Quota {
  readonly layer: string;
  readonly limit: number | null;
  readonly granted: number | null;
  readonly own: number | null;
  readonly resetsAt: string;
}

const grant = (id: string, layer: string, limit: unknown, key = platform, reason = 'they pay for it') =>
  api.ask(
    key,
    `mutation ($id: ID!, $layer: QuotaLayer!, $limit: Float, $reason: String!) { grantQuota(id: $id, layer: $layer, limit: $limit, reason: $reason) ${SHOWN} }`,
    { id, layer, limit, reason },
  );
const set = (layer: string, limit: unknown, key = admin, reason = 'a quiet month') =>
  api.ask(
    key,
    `mutation ($layer: QuotaLayer!, $limit: Float, $reason: String!) { setQuota(layer: $layer, limit: $limit, reason: $reason) ${SHOWN} }`,
    { layer, limit, reason },
  );
const shown = async (layer: string, key = admin): Promise<Quota | undefined> =>
  field<Quota[]>(await api.ask(key, `{ quotas ${SHOWN} }`), 'quotas').find((quota) => quota.layer === layer);
const ofAny = (id: string, key = platform) =>
  api.ask(key, `query ($id: ID!) { tenantQuotas(id: $id) ${SHOWN} }`, { id });
const codeOf = ({ errors }: Answer) => errors?.[0]?.extensions;
const lastChange = async (): Promise<unknown> =>
  (
    await api.database.asOwner<{ body: object }>(
      "SELECT body FROM journal_records WHERE tenant_id = $1 AND kind = 'control' ORDER BY id DESC LIMIT 1",
      [ACME],
    )
  )[0]?.body;

describe('what the operators of the platform grant', () => {
  it('is what holds, is in the journal with who and why, and both sides see it', async () => {
    const granted = field<Quota>(await grant(ACME, CALLS, 5_000), 'grantQuota');
    expect(granted).toMatchObject({ layer: CALLS, limit: 5_000, granted: 5_000, own: null, used: 0 });
    expect(await shown(CALLS)).toEqual(granted);
    expect(await lastChange()).toMatchObject({
      change: 'quota_granted',
      by: expect.stringMatching(/^operator:/),
      layer: CALLS,
      reason: 'they pay for it',
      before: { granted: 1_000, limit: 1_000 },
      after: { granted: 5_000, limit: 5_000 },
    });
    expect(field(await ofAny(ACME), 'tenantQuotas')).toContainEqual(granted);
    // midnight, in UTC
    expect(new Date(granted.resetsAt).getTime() % 86_400_000).toBe(0);
    expect(new Date(granted.resetsAt).getTime()).toBeGreaterThan(Date.now());
  });

  it('goes back to what every tenant has, under which a limit of its own from richer days does not reach', async () => {
    await grant(ACME, CALLS, 5_000);
    await set(CALLS, 4_000);
    expect(field(await grant(ACME, CALLS, null), 'grantQuota')).toMatchObject({ limit: 1_000, own: 4_000 });
    await set(CALLS, null);
    expect(await shown(CALLS)).toMatchObject({ limit: 1_000, granted: 1_000, own: null });
    expect(field(await grant(ACME, COSTS, null), 'grantQuota')).toMatchObject({ limit: null, granted: null });
  });

  it('is another thing for each tenant', async () => {
    await grant(ACME, CALLS, 77);
    expect(await shown(CALLS, await api.key(GLOBEX, 'viewer'))).toMatchObject({ limit: 1_000 });
    await grant(ACME, CALLS, null);
  });

  it('a tenant that is no more, was never there, or has no id of one is refused, and nothing is written', async () => {
    for (const id of ['no-such-tenant', 'NOT AN ID', ''])
      for (const answer of [await grant(id, CALLS, 1), await ofAny(id)])
        expect(codeOf(answer)?.code).toBe('NOT_FOUND');
    await api.database.asOwner("UPDATE tenants SET status = 'offboarded' WHERE id = $1", [GLOBEX]);
    expect(codeOf(await grant(GLOBEX, CALLS, 1))).toMatchObject({ code: 'INVALID_STATE' });
    await api.database.asOwner("UPDATE tenants SET status = 'active' WHERE id = $1", [GLOBEX]);
    expect(await api.database.asOwner("SELECT 1 FROM quotas WHERE tenant_id <> 'acme'")).toEqual([]);
  });
});

describe("a tenant's own limit", () => {
  it('is below what is granted, and going back to the grant is all that raises it', async () => {
    await grant(ACME, COSTS, 9_000_000_000);
    expect(field(await set(COSTS, 2_000), 'setQuota')).toMatchObject({
      limit: 2_000,
      granted: 9_000_000_000,
    });
    expect(await lastChange()).toMatchObject({ change: 'quota_set', by: expect.stringMatching(/^key:/) });
    const above = await set(COSTS, 9_000_000_001);
    expect(codeOf(above)).toMatchObject({ code: 'BAD_USER_INPUT', field: 'limit' });
    expect(above.errors?.[0]?.message).toContain('9000000000');
    expect(await shown(COSTS)).toMatchObject({ limit: 2_000 });
    // whatever is granted later: the lower of the two holds
    expect(field(await grant(ACME, COSTS, 500), 'grantQuota')).toMatchObject({ limit: 500, own: 2_000 });
    expect(field(await grant(ACME, COSTS, 10_000), 'grantQuota')).toMatchObject({ limit: 2_000 });
    expect(field(await set(COSTS, null), 'setQuota')).toMatchObject({ limit: 10_000, own: null });
    expect(codeOf(await set(CALLS, 1_001))).toMatchObject({ code: 'BAD_USER_INPUT', field: 'limit' });
  });

  it('attack: whoever is not its admin sets none, and no one of the tenant grants anything', async () => {
    await set(CALLS, 1_000);
    const before = await shown(CALLS);
    for (const role of ROLES) {
      const key = await api.key(ACME, role);
      const answer = await set(CALLS, 1_000, key);
      expect(codeOf(answer)?.code).toBe(role === 'admin' ? undefined : 'FORBIDDEN');
      expect(codeOf(await grant(ACME, CALLS, 1_000_000, key))).toMatchObject({ code: 'FORBIDDEN' });
    }
    expect(codeOf(await set(CALLS, 1, platform))).toMatchObject({ code: 'FORBIDDEN' });
    expect(await shown(CALLS)).toEqual(before);
    await set(CALLS, null);
  });

  it.each([-1, 1.5, 1e15 + 1, 1e300])('%d is no limit, and the answer names the field', async (limit) => {
    expect(codeOf(await set(CALLS, limit))).toMatchObject({ code: 'BAD_USER_INPUT', field: 'limit' });
    expect(codeOf(await grant(ACME, CALLS, limit))).toMatchObject({ code: 'BAD_USER_INPUT', field: 'limit' });
  });

  it('needs a reason, and a layer that there is', async () => {
    expect(codeOf(await set(CALLS, 5, admin, '  '))).toMatchObject({ field: 'reason' });
    expect((await set('tokens_per_day', 5)).errors).toBeDefined();
  });
});

it('npm run tenant -- quota grants and shows, and what was typed wrong is one line', async () => {
  const { run, close } = await commandOver(api, 'tenant');
  try {
    const grants = ['quota', ACME, '--layer', CALLS, '--limit', '6000', '--reason', 'they pay for it'];
    const granted = await run(...grants, '--json');
    expect(granted.stderr).toBe('');
    expect(JSON.parse(granted.stdout)).toMatchObject({
      tenant: ACME,
      [CALLS]: expect.stringMatching(/^limit 6000, granted 6000, its own none, used 0 until /),
    });
    expect(await shown(CALLS)).toMatchObject({ limit: 6_000 });
    expect(await lastChange()).toMatchObject({ by: expect.stringMatching(/^command:/) });
    expect((await run('quota', ACME)).stdout).toContain('granted 6000');
    for (const wrong of [
      ['--layer', CALLS],
      ['--limit', '5'],
      grants.slice(2, 6),
      ['--layer', 'x', '--limit', '1'],
    ]) {
      const { code, stderr } = await run('quota', ACME, ...wrong);
      expect([code, stderr.trim().split('\n').length]).toEqual([1, 1]);
    }
    expect((await run('quota', 'no-such-tenant')).code).toBe(1);
    expect(await shown(CALLS)).toMatchObject({ limit: 6_000 });
  } finally {
    await close();
  }
});
