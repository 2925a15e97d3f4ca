import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOperatorKey, revokeOperator } from '@bulkhead/tenancy/control';
import { personId } from '@bulkhead/tenancy/admin';
import { findSession } from '../../apps/api/src/sign-in/sessions.js';
import { field, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { startIssuer } from '../support/issuer.js';
import type { TestIssuer } from '../support/issuer.js';
import { cookieOf, signIn } from '../support/sign-in.js';

const LINK = 'mutation { createSignInLink { url } }';

describe('a browser session', () => {
  let issuer: TestIssuer;
  let api: TestApi;
  let token: string;
  let id: string;

  beforeAll(async () => {
    issuer = await startIssuer();
    api = await startApi({ issuers: [issuer.config] });
    token = await issuer.token('ann');
    id = personId(issuer.config.issuer, 'ann');
    await api.database.asOwner(
      "INSERT INTO members (tenant_id, id, issuer, subject, role, created_by) VALUES ('acme', $1, $2, 'ann', 'operator', 'test')",
      [id, issuer.config.issuer],
    );
  });
  afterAll(async () => {
    await api?.close();
    await issuer?.close();
  });

  /** Signs in with what proves who it is, and says whom the session stands for now. */
  const session = async (proof: string): Promise<() => Promise<string | undefined>> => {
    const link = field<{ url: string }>(await api.ask(proof, LINK), 'createSignInLink').url;
    const answer = await signIn(api.url, link);
    expect(answer.status).toBe(303);
    const cookie = cookieOf(answer).replace('bulkhead_session=', '');
    return async () => {
      const viewer = await findSession(api.deps.control, cookie);
      return viewer && `${viewer.actor} of ${viewer.kind === 'member' ? viewer.tenantId : 'the platform'}`;
    };
  };
  const sql = (text: string, values: unknown[] = []): Promise<unknown> => api.database.asOwner(text, values);
  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;

  it.each([
    ['removed', 'removed_at = now()', 'removed_at = NULL'],
    ['a viewer, who may not look', "role = 'viewer'", "role = 'operator'"],
    ['of one workspace, where the UI shows all', "workspace_id = 'main'", 'workspace_id = NULL'],
  ])('of a person ends when they are %s, and with nothing but that', async (_what, change, back) => {
    const viewer = await session(token);
    expect(await viewer()).toBe(`user:${id} of acme`);
    await sql(`UPDATE members SET ${change} WHERE id = $1`, [id]);
    expect(await viewer()).toBeUndefined();
    expect(code(await api.ask(token, LINK))).toBe('FORBIDDEN');
    await sql(`UPDATE members SET ${back} WHERE id = $1`, [id]);
    expect(await viewer()).toBe(`user:${id} of acme`);
  });

  it('ends with its tenant', async () => {
    const viewer = await session(token);
    await sql("UPDATE tenants SET status = 'suspended' WHERE id = 'acme'");
    expect(await viewer()).toBeUndefined();
    await sql("UPDATE tenants SET status = 'active' WHERE id = 'acme'");
    expect(await viewer()).toBe(`user:${id} of acme`);
  });

  it('of an operator of the platform stands for no tenant, works once, and ends with the operator', async () => {
    const operator = await createOperatorKey(api.deps.control, { name: 'on call', createdBy: 'test' });
    const viewer = await session(operator.key);
    expect(await viewer()).toBe(`operator:${operator.id} of the platform`);
    const link = field<{ url: string }>(await api.ask(operator.key, LINK), 'createSignInLink').url;
    const open = (): Promise<number> => signIn(api.url, link).then((answer) => answer.status);
    expect((await Promise.all([open(), open(), open()])).toSorted((a, b) => a - b)).toEqual([303, 401, 401]);
    await revokeOperator(api.deps.control, operator.id, 'test');
    expect(await viewer()).toBeUndefined();
  });
});
