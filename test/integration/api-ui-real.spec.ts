import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { ACME, field, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { cookieOf, signIn } from '../support/sign-in.js';

const API = '/temporal/api/v1';

/** Real: Temporal, its UI server, its authorizer, and the tokens that the control process would write. */
describe('the real Temporal UI behind the API', () => {
  let api: TestApi;
  let cookie: string;

  beforeAll(async () => {
    const { keys, temporal } = inject('servers');
    const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 600 });
    api = await startApi({
      uiAddress: temporal.uiAddress,
      readToken: (whose) => (whose === 'system' ? minter.system('read') : minter.tenant(whose, 'read')),
    });
    const answer = await api.ask(await api.key(ACME, 'operator'), 'mutation { createSignInLink { url } }');
    const { url } = field<{ url: string }>(answer, 'createSignInLink');
    cookie = cookieOf(await signIn(api.url, url));
  });
  afterAll(() => api?.close());

  const get = async (path: string): Promise<{ status: number; text: string }> => {
    const answer = await fetch(`${api.url}${path}`, { headers: { cookie } });
    return { status: answer.status, text: await answer.text() };
  };

  it('serves its page and what the page loads first', async () => {
    const page = await get('/temporal/namespaces/tnt-acme/workflows');
    expect(page).toMatchObject({ status: 200, text: expect.stringContaining('<!doctype html>') });
    const file =
      /"(?:\.|\/temporal|\.\.\/)*(\/_app\/[^"]+\.js)"/.exec(page.text)?.[1] ?? 'no script in the page';
    expect((await get(`/temporal${file}`)).status).toBe(200);
    for (const read of ['settings', 'cluster-info', 'system-info']) {
      const answer = await get(`${API}/${read}`);
      expect(answer.status, `${read}: ${answer.text}`).toBe(200);
      expect(JSON.parse(answer.text)).toBeInstanceOf(Object);
    }
  });

  it("passes the server's own check with the tenant's token, and only that one", async () => {
    // no namespace is registered here, so the server's answer to an authorised read is "not found", not "denied"
    const own = await get(`${API}/namespaces/tnt-acme/workflows`);
    expect(own.text).toContain('tnt-acme');
    expect([403, 401]).not.toContain(own.status);
    const direct = await fetch(`${inject('servers').temporal.uiAddress}${API}/namespaces/tnt-acme/workflows`);
    expect(direct.status).toBe(403);
    const stolen = await api.deps.readTokens.tenant(GLOBEX);
    const crossed = await fetch(
      `${inject('servers').temporal.uiAddress}${API}/namespaces/tnt-acme/workflows`,
      {
        headers: { authorization: `Bearer ${stolen}` },
      },
    );
    expect(crossed.status).toBe(403);
  });
});
