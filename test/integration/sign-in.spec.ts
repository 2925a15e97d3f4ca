import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApiKey, personId } from '@bulkhead/tenancy/admin';
import { findSession } from '../../apps/api/src/sign-in/sessions.js';
import { ACME, field, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { startIssuer } from '../support/issuer.js';
import type { TestIssuer } from '../support/issuer.js';
import { cookieOf, sayYes, signIn } from '../support/sign-in.js';

const OWN = 'http://bulkhead.test';

describe('signing a browser in', () => {
  let issuer: TestIssuer;
  let api: TestApi;
  let key: string;

  beforeAll(async () => {
    issuer = await startIssuer();
    api = await startApi({ issuers: [issuer.config] });
    const name = 'eve <img src=x onerror="alert(1)">';
    ({ key } = await createApiKey(api.deps.door.tenant(ACME), { name, role: 'operator' }));
  });
  afterAll(async () => {
    await api?.close();
    await issuer?.close();
  });

  const linkOf = async (proof: string): Promise<string> =>
    field<{ url: string }>(await api.ask(proof, 'mutation { createSignInLink { url } }'), 'createSignInLink')
      .url;
  const look = async (link: string): Promise<{ page: string; cookie: string; headers: Headers }> => {
    const answer = await fetch(link.replace(OWN, api.url));
    return { page: await answer.text(), cookie: cookieOf(answer), headers: answer.headers };
  };

  it('says first as whom, and in what tenant, and runs nothing of a name', async () => {
    const { page, headers } = await look(await linkOf(key));
    expect(page).toContain(`(key:${key.slice(4, 12)})</strong>`);
    expect(page).toContain('eve &lt;img src=x onerror=&quot;alert(1)&quot;&gt;');
    expect(page).toContain('the tenant acme');
    expect(page).not.toContain('<img');
    expect(headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect(headers.get('set-cookie')).toMatch(
      /^bulkhead_sign_in=[\w-]{43}; Path=\/sign-in; Max-Age=600; HttpOnly; SameSite=Strict$/,
    );
    expect(headers.get('referrer-policy')).toBe('strict-origin');
  });

  it("attack: a page of another site sends the victim's browser to the attacker's session", async () => {
    const link = await linkOf(key);
    const attackers = await look(link);
    const victims = await look(await linkOf(key));
    const forged: Record<string, string>[] = [
      {},
      // the victim's browser has the cookie of a question of its own, not the attacker's
      { cookie: victims.cookie },
      { cookie: 'bulkhead_sign_in=' },
      { cookie: attackers.cookie, origin: 'https://evil.example' },
      { cookie: attackers.cookie, origin: 'null' },
    ];
    for (const headers of forged) {
      const answer = await sayYes(api.url, attackers.page, headers);
      expect([answer.status, answer.headers.get('set-cookie')]).toEqual([403, null]);
    }
    for (const body of ['', 'token=x', 'token[]=x&proof=y', 'proof=a&token=b&token=c']) {
      const init = { method: 'POST', headers: { cookie: attackers.cookie }, body: new URLSearchParams(body) };
      expect((await fetch(`${api.url}/sign-in`, init)).status).toBe(403);
    }
    // none of it has used the link up
    const own = { cookie: attackers.cookie, origin: OWN };
    expect((await sayYes(api.url, attackers.page, own)).status).toBe(303);
    expect((await sayYes(api.url, attackers.page, own)).status).toBe(401);
    expect((await fetch(link.replace(OWN, api.url))).status).toBe(401);
  });

  it('ends with the token that asked for it, and with the key', async () => {
    await api.database.asOwner(
      "INSERT INTO members (tenant_id, id, issuer, subject, email, role, created_by) VALUES ('acme', $1, $2, 'ann', 'ann@example.org', 'operator', 'test')",
      [personId(issuer.config.issuer, 'ann'), issuer.config.issuer],
    );
    const exp = Math.floor(Date.now() / 1_000) + 3;
    const link = await linkOf(await issuer.token('ann', { exp }));
    expect((await look(link)).page).toContain('ann@example.org');
    const answer = await signIn(api.url, link);
    expect(answer.headers.getSetCookie()[0]).toMatch(/; Max-Age=[0-3]; /);
    const session = cookieOf(answer).replace('bulkhead_session=', '');
    expect(await findSession(api.deps.control, session)).toMatchObject({ tenantId: 'acme' });
    const unused = await linkOf(await issuer.token('ann', { exp: exp + 1 }));
    await sleep(exp * 1_000 - Date.now() + 1_100);
    expect(await findSession(api.deps.control, session)).toBeUndefined();
    expect((await signIn(api.url, unused)).status).toBe(401);

    const expiresAt = new Date(Date.now() + 3_600_000);
    const short = await createApiKey(api.deps.door.tenant(ACME), { name: 's', role: 'admin', expiresAt });
    const age = /Max-Age=(\d+)/.exec(
      (await signIn(api.url, await linkOf(short.key))).headers.getSetCookie()[0] ?? '',
    );
    expect(Number(age?.[1])).toBeLessThanOrEqual(3_600);
    expect(Number(age?.[1])).toBeGreaterThan(3_500);
  });
});
