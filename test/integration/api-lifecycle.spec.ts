import { afterAll, beforeAll, expect, it } from 'vitest';
import { createOperatorKey } from '@bulkhead/tenancy/control';
import { ACME, field, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

/** The API alone: what it accepts, from whom, and what it writes down. What is done then is in lifecycle.spec.ts. */
let api: TestApi;
let platform: string;
let admin: string;

beforeAll(async () => {
  api = await startApi();
  platform = (await createOperatorKey(api.deps.control, { name: 'on call', createdBy: 'test' })).key;
  admin = await api.key(ACME, 'admin');
});
afterAll(() => api.close());

const ORDERS = ['suspendTenant', 'resumeTenant', 'offboardTenant', 'reinstateTenant'] as const;
const asked = (mutation: string, id: string, key: string, reason = 'unpaid bills') =>
  api.ask(
    key,
    `mutation ($id: ID!, $reason: String!) { ${mutation}(id: $id, reason: $reason) { id status lifecycle { kind state reason requestedBy } } }`,
    { id, reason },
  );
const setStatus = (status: string): Promise<unknown> =>
  api.database.asOwner('UPDATE tenants SET status = $1 WHERE id = $2', [status, ACME]);
const finish = (): Promise<unknown> =>
  api.database.asOwner("UPDATE lifecycles SET state = 'completed', finished_at = now()");
const codeOf = (answer: Awaited<ReturnType<typeof asked>>) => answer.errors?.[0]?.extensions.code;

it('a platform operator orders, with a reason that the tenant and its journal show', async () => {
  await setStatus('active');
  const answer = await asked('suspendTenant', ACME, platform);
  expect(field(answer, 'suspendTenant')).toMatchObject({
    id: ACME,
    lifecycle: { kind: 'suspend', state: 'requested', reason: 'unpaid bills' },
  });
  const records = await api.database.asOwner<{ body: object }>(
    "SELECT body FROM journal_records WHERE tenant_id = $1 AND kind = 'control' ORDER BY id DESC LIMIT 1",
    [ACME],
  );
  expect(records[0]?.body).toMatchObject({ change: 'tenant_suspend_requested', reason: 'unpaid bills' });
  // the same again is the same request, something else has to wait
  expect(codeOf(await asked('suspendTenant', ACME, platform))).toBeUndefined();
  expect(codeOf(await asked('offboardTenant', ACME, platform))).toBe('INVALID_STATE');
  expect(await api.database.asOwner('SELECT 1 FROM lifecycles WHERE tenant_id = $1', [ACME])).toHaveLength(1);
  await finish();
});

it.each(ORDERS)(
  '%s: nobody of a tenant may, not even its admin, and a reason is required',
  async (mutation) => {
    expect(codeOf(await asked(mutation, ACME, admin))).toBe('FORBIDDEN');
    expect(codeOf(await asked(mutation, ACME, platform, '  '))).toBe('BAD_USER_INPUT');
    expect(codeOf(await asked(mutation, 'no-such-tenant', platform))).toBe('NOT_FOUND');
    expect(codeOf(await asked(mutation, 'NOT AN ID', platform))).toBe('NOT_FOUND');
  },
);

it('what does not fit the status of the tenant is refused', async () => {
  for (const [status, refused] of [
    ['active', ['resumeTenant', 'reinstateTenant']],
    ['suspended', ['suspendTenant', 'reinstateTenant']],
    ['offboarded', ORDERS],
  ] as const) {
    await setStatus(status);
    for (const mutation of refused)
      expect(codeOf(await asked(mutation, ACME, platform)), `${mutation} while ${status}`).toBe(
        'INVALID_STATE',
      );
  }
});

it("a suspended tenant's people are told so, and nobody starts a run; others notice nothing", async () => {
  await setStatus('suspended');
  const start = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
  const input = { agentId: 'support-triage', idempotencyKey: 'k', input: { ticketId: 'T-1' } };
  expect(codeOf(await api.ask(admin, start, { input }))).toBe('TENANT_SUSPENDED');
  expect(codeOf(await api.ask(admin, '{ me { actor } }'))).toBe('TENANT_SUSPENDED');
  const other = await api.ask(await api.key(GLOBEX, 'operator'), start, { input });
  expect(codeOf(other)).toBeUndefined();
  await setStatus('active');
});

it('createTenant makes one that waits for its provisioning, once; an id is never used again', async () => {
  const create =
    'mutation ($id: ID!) { createTenant(id: $id, name: "Initech", reason: "new customer") { status lifecycle { kind requestedBy reason } } }';
  const answer = await api.ask(platform, create, { id: 'initech' });
  expect(field(answer, 'createTenant')).toMatchObject({
    status: 'provisioning',
    lifecycle: { kind: 'provision', reason: 'new customer' },
  });
  expect(codeOf(await api.ask(platform, create, { id: 'initech' }))).toBe('INVALID_STATE');
  expect(codeOf(await api.ask(platform, create, { id: 'Not An Id' }))).toBe('BAD_USER_INPUT');
  expect(codeOf(await api.ask(admin, create, { id: 'umbrella' }))).toBe('FORBIDDEN');
});

it('tenant(id) shows the own tenant, any to operators of the platform, and a foreign one like a missing one', async () => {
  const ask = (key: string, id: string) =>
    api.ask(key, 'query ($id: ID!) { tenant(id: $id) { id } }', { id });
  expect(field(await ask(admin, ACME), 'tenant')).toEqual({ id: ACME });
  expect(field(await ask(platform, GLOBEX), 'tenant')).toEqual({ id: GLOBEX });
  const [foreign, missing] = await Promise.all([ask(admin, GLOBEX), ask(admin, 'no-such-tenant')]);
  expect(foreign).toEqual(missing);
  expect(codeOf(foreign)).toBe('NOT_FOUND');
});
