import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { revokeApiKey } from '@bulkhead/tenancy/admin';
import { ACME, field, GLOBEX, readTokenOf, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { cookieOf, signIn } from '../support/sign-in.js';

const API = '/temporal/api/v1';

describe('Temporal UI behind the API', () => {
  let ui: Server;
  let api: TestApi;
  let operator: string;
  let cookie: string;
  let seen: IncomingMessage[] = [];

  beforeAll(async () => {
    // stands where Temporal UI listens and shows what reached it
    ui = createServer((request, response) => {
      seen.push(request);
      response.setHeader('content-type', 'application/json');
      response.setHeader('set-cookie', '_csrf=x');
      response.end(JSON.stringify({ reached: request.url }));
    });
    await new Promise<void>((resolve) => {
      ui.listen(0, '127.0.0.1', resolve);
    });
    api = await startApi({ uiAddress: `127.0.0.1:${(ui.address() as AddressInfo).port}` });
    operator = await api.key(ACME, 'operator');
    cookie = cookieOf(await signIn(api.url, await link(operator)));
  });
  beforeEach(() => {
    seen = [];
  });
  afterAll(async () => {
    await api?.close();
    ui.close();
  });

  const link = async (key: string): Promise<string> => {
    const answer = await api.ask(key, 'mutation { createSignInLink { url expiresAt } }');
    const { url, expiresAt } = field<{ url: string; expiresAt: string }>(answer, 'createSignInLink');
    expect(Date.parse(expiresAt) - Date.now()).toBeLessThanOrEqual(600_000);
    return url.replace('http://bulkhead.test', api.url);
  };
  const open = (url: string, init: RequestInit = {}): Promise<Response> =>
    fetch(url, { redirect: 'manual', ...init });
  const get = (path: string, init: RequestInit = {}): Promise<Response> =>
    open(`${api.url}${path}`, { ...init, headers: { cookie, ...init.headers } });

  it('signs in once per link, with a cookie that scripts and other sites cannot use', async () => {
    const url = await link(operator);
    expect((await open(url, { method: 'HEAD' })).status).toBe(404); // a preview must not use the link up
    expect([(await open(url)).status, (await open(url)).status]).toEqual([200, 200]); // nor does looking
    const first = await signIn(api.url, url);
    expect(first.status).toBe(303);
    expect(first.headers.get('location')).toBe('/temporal/namespaces/tnt-acme/workflows');
    const cookies = first.headers.getSetCookie();
    expect(cookies).toHaveLength(2);
    for (const [i, path] of ['temporal', 'codec'].entries())
      expect(cookies[i]).toMatch(
        new RegExp(
          `^bulkhead_session=[\\w-]{43}; Path=/${path}; Max-Age=(43200|4319\\d); HttpOnly; SameSite=Lax$`,
        ),
      );
    expect((await open(url)).status).toBe(401);
  });

  it('opens one session when a link is used twice at the same moment', async () => {
    const url = await link(operator);
    const answers = await Promise.all(Array.from({ length: 4 }, () => signIn(api.url, url)));
    expect(answers.map((answer) => answer.status).toSorted()).toEqual([303, 401, 401, 401]);
  });

  it('refuses an expired link, a made-up one, and a viewer who asks for one', async () => {
    const url = await link(operator);
    await api.database.asOwner(
      "UPDATE sessions SET expires_at = now() - interval '1 second' WHERE kind = 'link' AND used_at IS NULL",
    );
    expect((await open(url)).status).toBe(401);
    expect((await open(`${api.url}/sign-in?token=${'A'.repeat(43)}`)).status).toBe(401);
    expect((await open(`${api.url}/sign-in?token=a&token=b`)).status).toBe(401);
    const { errors } = await api.ask(await api.key(ACME, 'viewer'), 'mutation { createSignInLink { url } }');
    expect(errors).toMatchObject([{ extensions: { code: 'FORBIDDEN' } }]);
  });

  it('does not take a link for a session, and keeps neither in the database', async () => {
    const url = await link(operator);
    const token = new URL(url).searchParams.get('token') ?? '';
    expect((await get('/temporal/', { headers: { cookie: `bulkhead_session=${token}` } })).status).toBe(401);
    const rows = JSON.stringify(
      await api.database.asOwner(
        "SELECT encode(hash, 'escape') AS a, encode(hash, 'base64') AS b FROM sessions",
      ),
    );
    expect(rows).not.toContain(token);
    expect(rows).not.toContain(cookie.split('=')[1]);
    expect(api.logs.join('')).not.toContain(token);
  });

  it('shows nothing without a session, and says how to get one', async () => {
    const answer = await fetch(`${api.url}/temporal/namespaces/tnt-acme/workflows`);
    expect(answer.status).toBe(401);
    expect(await answer.text()).toContain('createSignInLink');
    expect(seen).toEqual([]);
  });

  it.each([
    [
      `${API}/namespaces/tnt-acme/workflows?query=x%20y`,
      `${API}/namespaces/tnt-acme/workflows?query=x%20y`,
      'acme',
    ],
    [`${API}/namespaces/tnt-acme?id=other`, `${API}/namespaces/tnt-acme`, 'acme'],
    [`${API}/cluster-info`, `${API}/cluster-info`, 'system'],
    [`${API}/namespaces?pageSize=1000`, `${API}/namespaces/tnt-acme`, 'acme'],
  ])('sends %s on with the narrowest token that serves it', async (asked, reached, token) => {
    expect((await get(asked)).status).toBe(200);
    expect(seen.map((request) => [request.url, request.headers.authorization])).toEqual([
      [reached, `Bearer ${readTokenOf(token)}`],
    ]);
  });

  it("sends files on without a token, and never the browser's cookie or authorization", async () => {
    const answer = await get('/temporal/_app/start.js', {
      headers: { cookie, authorization: 'Bearer mine', 'x-forwarded-for': '1.2.3.4' },
    });
    expect(answer.headers.get('set-cookie')).toBeNull();
    expect(seen).toHaveLength(1);
    for (const header of ['cookie', 'authorization', 'x-forwarded-for'])
      expect(seen[0]?.headers).not.toHaveProperty(header);
  });

  it('lists the own namespace only', async () => {
    const body = await (await get(`${API}/namespaces`)).json();
    expect(body).toEqual({ namespaces: [{ reached: `${API}/namespaces/tnt-acme` }], nextPageToken: '' });
  });

  it("answers for another tenant's namespace exactly as for one that does not exist, without asking the server", async () => {
    const answers = await Promise.all(
      ['tnt-globex', 'tnt-nobody', 'temporal-system', '%74nt-globex'].flatMap((namespace) =>
        [`${API}/namespaces/${namespace}`, `${API}/namespaces/${namespace}/workflows`].map(async (path) => {
          const answer = await get(path);
          return [answer.status, await answer.text()];
        }),
      ),
    );
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    expect(answers[0]?.[0]).toBe(404);
    expect(seen).toEqual([]);
  });

  it.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    'is read only: %s does not reach the server',
    async (method) => {
      const answer = await get(`${API}/namespaces/tnt-acme/workflows/x/terminate`, { method });
      expect([404, 405]).toContain(answer.status);
      expect(seen).toEqual([]);
    },
  );

  it('ends a session when the key that opened it is revoked', async () => {
    const key = await api.key(GLOBEX, 'admin');
    const own = cookieOf(await signIn(api.url, await link(key)));
    expect((await get(`${API}/namespaces/tnt-globex`, { headers: { cookie: own } })).status).toBe(200);
    await revokeApiKey(api.deps.door.tenant(GLOBEX), key.slice(4, 12));
    expect((await get(`${API}/namespaces/tnt-globex`, { headers: { cookie: own } })).status).toBe(401);
  });
});

describe('pages of the API', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(() => api?.close());

  it('serve a GraphiQL that needs no network', async () => {
    const answer = await api.app.inject({ method: 'GET', url: '/graphiql' });
    expect(answer.headers).toMatchObject({
      'content-encoding': 'gzip',
      'content-type': 'text/html; charset=utf-8',
    });
    const html = gunzipSync(answer.rawPayload).toString();
    expect(html).toContain('/graphql');
    expect(html).not.toMatch(/<(script|link)[^>]+(src|href)="https?:/);
  });

  it('serve no GraphiQL and no schema unless told to', async () => {
    const closed = await startApi({ development: false });
    const page = await fetch(`${closed.url}/graphiql`);
    expect([page.status, page.headers.get('content-type')]).toEqual([404, 'application/json; charset=utf-8']);
    expect(await page.json()).toEqual({ error: { code: 'NOT_FOUND', message: 'There is no such page.' } });
    const key = await closed.key(ACME, 'admin');
    for (const query of ['{ __schema { types { name } } }', '{ __type(name: "Run") { name } }']) {
      const { errors } = await closed.ask(key, query);
      expect(errors).toMatchObject([{ extensions: { code: 'INTROSPECTION_DISABLED' } }]);
    }
    expect((await closed.ask(key, '{ __typename }')).data).toEqual({ __typename: 'Query' });
    await closed.close();
  });

  it('tell that the process answers, and whether the database does', async () => {
    expect(await (await fetch(`${api.url}/healthz`)).json()).toEqual({ status: 'ok' });
    expect((await fetch(`${api.url}/readyz`)).status).toBe(200);
    const missing = await fetch(`${api.url}/nothing?token=secret`);
    expect(missing.status).toBe(404);
    expect(await missing.text()).not.toContain('secret');
  });
});
