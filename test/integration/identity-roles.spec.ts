import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOperatorKey, revokeOperator } from '@bulkhead/tenancy/control';
import { ACME, AGENT, field, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const ME = '{ me { actor role permissions workspaceId tenant { id } } }';
const TENANTS = '{ tenants { id status } }';

describe('who may act', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(() => api?.close());

  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;
  const operatorKey = (expiresAt?: Date): Promise<{ key: string; id: string }> =>
    createOperatorKey(api.deps.control, { name: 'on call', createdBy: 'test', expiresAt });

  it('an operator of the platform sees the tenants and nothing that belongs to one', async () => {
    const { key, id } = await operatorKey();
    const me = field<object>(await api.ask(key, ME), 'me');
    expect(me).toMatchObject({ actor: `operator:${id}`, role: 'platform', tenant: null });
    const tenants = field<{ id: string }[]>(await api.ask(key, TENANTS), 'tenants');
    expect(tenants.map((tenant) => tenant.id)).toEqual(['acme', 'globex']);
    for (const query of [
      '{ agents { id } }',
      '{ tools { id } }',
      '{ runs { nodes { id } } }',
      '{ approvals { nodes { id } } }',
      '{ run(id: "acme.run.01kb3v6r2e8m4q7x9z0a1b2c3d") { id } }',
      `mutation { startRun(input: { agentId: "${AGENT}", idempotencyKey: "x", input: {} }) { id } }`,
    ]) {
      expect(code(await api.ask(key, query)), query).toBe('FORBIDDEN');
    }
  });

  it('a key that is sent with the name of another tenant works in neither', async () => {
    const key = await api.key(ACME, 'admin');
    const foreign = await api.ask(key, ME, {}, 'globex');
    expect(code(foreign)).toBe('FORBIDDEN');
    expect(await api.ask(key, ME, {}, 'hooli')).toEqual(foreign);
    expect(code(await api.ask(key, ME, {}, 'acme'))).toBeUndefined();
  });

  it('an operator is refused from the next request on: revoked, expired, forged, or a name of a person', async () => {
    const { key, id } = await operatorKey();
    expect(code(await api.ask(key, ME))).toBeUndefined();
    await revokeOperator(api.deps.control, id, 'test');
    const refused = await api.ask(key, ME);
    expect(code(refused)).toBe('UNAUTHENTICATED');
    const expired = await operatorKey(new Date(Date.now() - 1_000));
    await api.database.asOwner(
      "INSERT INTO platform_operators (id, issuer, subject, name, created_by) VALUES ('Aaaaaaaa', 'i', 's', 'n', 'test')",
    );
    const live = await operatorKey();
    for (const forged of [
      expired.key,
      `${live.key.slice(0, 13)}${'A'.repeat(32)}`,
      `bho_Aaaaaaaa_${'A'.repeat(32)}`,
      live.key.replace('bho_', 'bhk_'),
    ]) {
      expect(await api.ask(forged, ME)).toEqual(refused);
    }
  });

  it('the people of a suspended tenant are told so, and nobody else is told anything', async () => {
    const key = await api.key(ACME, 'admin');
    const status = (to: string): Promise<unknown> =>
      api.database.asOwner("UPDATE tenants SET status = $1 WHERE id = 'acme'", [to]);
    await status('suspended');
    expect(code(await api.ask(key, ME))).toBe('TENANT_SUSPENDED');
    expect(code(await api.ask(`${key.slice(0, 13)}${'A'.repeat(32)}`, ME))).toBe('UNAUTHENTICATED');
    // the database knows all states of today; a state that this code does not know must not mean "come in"
    await api.database.asOwner('ALTER TABLE tenants DROP CONSTRAINT IF EXISTS tenants_status');
    await status('a state of the future');
    expect(code(await api.ask(key, ME))).toBe('TENANT_SUSPENDED');
    await status('active');
    expect(code(await api.ask(key, ME))).toBeUndefined();
  });

  it('every change of who may act is told to whoever listens, in the same commit', async () => {
    const heard: string[] = [];
    const stop = await api.deps.control.listen('bulkhead_access', (payload) => heard.push(payload));
    heard.length = 0;
    const key = await api.key(ACME, 'viewer');
    await api.ask(key, ME); // notes its last use, which changes nothing for anybody
    await api.database.asOwner('UPDATE api_keys SET revoked_at = now() WHERE prefix = $1', [
      key.slice(4, 12),
    ]);
    await expect.poll(() => heard).toEqual(['acme']);
    await revokeOperator(api.deps.control, (await operatorKey()).id, 'test');
    await expect.poll(() => heard).toEqual(['acme', '']);
    await api.database.asOwner("UPDATE tenants SET status = 'suspended' WHERE id = 'globex'");
    await expect.poll(() => heard).toEqual(['acme', '', 'globex']);
    await stop();
  });
});
