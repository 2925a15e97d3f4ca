import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { revokeApiKey } from '@bulkhead/tenancy/admin';
import { ACME, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { decode, sealedFor, sessionCookie } from '../support/codec.js';
import type { Decoded, WirePayload } from '../support/codec.js';

const OWN_PAGE = 'http://bulkhead.test';
const ACME_NS = { 'x-namespace': 'tnt-acme' };

describe('the codec server', () => {
  let api: TestApi;
  let operator: string;
  let viewer: string;
  let globex: string;
  let cookie: string;
  let sealed: WirePayload;

  beforeAll(async () => {
    api = await startApi();
    [operator, viewer, globex] = await Promise.all([
      api.key(ACME, 'operator'),
      api.key(ACME, 'viewer'),
      api.key(GLOBEX, 'admin'),
    ]);
    cookie = await sessionCookie(api, operator);
    sealed = await sealedFor(api, ACME, { ticket: 'T-1', note: 'the customer is ill' });
  });
  beforeEach(() =>
    api.database.asOwner("DELETE FROM journal_records WHERE body->>'change' = 'payloads_decoded'"),
  );
  afterAll(() => api.close());

  const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
  const records = async (): Promise<object[]> =>
    (
      await api.database.asOwner<{ tenant_id: string; body: object }>(
        "SELECT tenant_id, body FROM journal_records WHERE body->>'change' = 'payloads_decoded' ORDER BY id",
      )
    ).map(({ tenant_id, body }) => ({ tenant: tenant_id, ...body }));
  const opened = ({ text }: Decoded): unknown[] =>
    (JSON.parse(text) as { payloads: WirePayload[] }).payloads.map(({ data }) =>
      JSON.parse(Buffer.from(data, 'base64').toString()),
    );
  const refusal = ({ status, text }: Decoded): [number, string] => [
    status,
    (JSON.parse(text) as { error: { code: string } }).error.code,
  ];

  it.each(['an API key', 'the session of Temporal UI'])(
    'opens the own tenant’s payloads for %s',
    async (who) => {
      const proof = who === 'an API key' ? bearer(operator) : { cookie, origin: OWN_PAGE };
      const plain = { metadata: { encoding: btoa('json/plain') }, data: btoa('"as it was"') };
      const answer = await decode(api, { ...ACME_NS, ...proof }, [sealed, plain, sealed]);
      expect(answer.status).toBe(200);
      const value = { ticket: 'T-1', note: 'the customer is ill' };
      expect(opened(answer)).toEqual([value, 'as it was', value]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
    },
  );

  it('records who opened how many before it tells, and nothing of what they hold', async () => {
    await decode(api, { ...ACME_NS, ...bearer(operator) }, [sealed, sealed]);
    await decode(api, { ...ACME_NS, cookie, origin: OWN_PAGE }, [sealed]);
    await decode(api, { ...ACME_NS, ...bearer(operator) }, [
      { ...sealed, data: btoa('rubbish that is long enough') },
    ]);
    const actor = `key:${operator.slice(4, 12)}`;
    const record = { tenant: 'acme', change: 'payloads_decoded', actor, namespace: 'tnt-acme' };
    expect(await records()).toEqual([
      { ...record, payloads: 2 },
      { ...record, payloads: 1 },
      { ...record, payloads: 1, refused: 'PAYLOAD_REFUSED' },
    ]);
  });

  it('is asked by one caller so often only, whatever key or browser they use', async () => {
    const slow = await startApi({ decodesPerMinute: 3 });
    try {
      const key = await slow.key(ACME, 'operator');
      const own = await sealedFor(slow, ACME, 'x');
      const browser = { cookie: await sessionCookie(slow, key), origin: OWN_PAGE };
      const ask = (proof: Record<string, string>) => decode(slow, { ...ACME_NS, ...proof }, [own]);
      const first = [await ask(bearer(key)), await ask(browser), await ask(bearer(key))];
      expect(first.map(({ status }) => status)).toEqual([200, 200, 200]);
      for (const proof of [bearer(key), browser]) {
        const answer = await ask(proof);
        expect(refusal(answer)).toEqual([429, 'TOO_MANY_REQUESTS']);
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(10);
        expect(Number(answer.headers.get('retry-after'))).toBeLessThanOrEqual(20);
        expect(JSON.parse(answer.text)).toMatchObject({ error: { limit: 3 } });
      }
      const noted = "SELECT 1 FROM journal_records WHERE body->>'change' = 'payloads_decoded'";
      expect(await slow.database.asOwner(noted)).toHaveLength(3);
      expect((await ask(bearer(await slow.key(ACME, 'operator')))).status).toBe(200);
    } finally {
      await slow.close();
    }
  });

  it('tells nothing when it cannot be recorded', async () => {
    await api.database.asOwner(
      "ALTER TABLE journal_records ADD CONSTRAINT \"full\" CHECK (body->>'change' <> 'payloads_decoded') NOT VALID",
    );
    try {
      const answer = await decode(api, { ...ACME_NS, ...bearer(operator) }, [sealed]);
      expect(refusal(answer)).toEqual([500, 'INTERNAL']);
    } finally {
      await api.database.asOwner('ALTER TABLE journal_records DROP CONSTRAINT "full"');
    }
  });

  it('attack: no proof, a forged one, a cookie without the page it belongs to, a role that may not', async () => {
    const forged = `${operator.slice(0, -1)}${operator.endsWith('x') ? 'y' : 'x'}`;
    for (const [headers, expected] of [
      [{}, [401, 'UNAUTHENTICATED']],
      [{ origin: OWN_PAGE }, [401, 'UNAUTHENTICATED']],
      [bearer(forged), [401, 'UNAUTHENTICATED']],
      [bearer(forged), [401, 'UNAUTHENTICATED']],
      [{ cookie }, [401, 'UNAUTHENTICATED']],
      [{ cookie: 'bulkhead_session=x', origin: OWN_PAGE }, [401, 'UNAUTHENTICATED']],
      // a bad key is not made good by a good cookie
      [{ ...bearer(forged), cookie, origin: OWN_PAGE }, [401, 'UNAUTHENTICATED']],
      [bearer(viewer), [403, 'FORBIDDEN']],
    ] as const)
      expect(refusal(await decode(api, { ...ACME_NS, ...headers }, [sealed]))).toEqual(expected);
    expect(await records()).toEqual([]);
  });

  it.each([
    'http://evil.test',
    'null',
    'http://bulkhead.test.evil.test',
    'https://bulkhead.test',
    'http://bulkhead.test:81',
  ])('attack: a page of %s asks in the name of whoever is signed in', async (origin) => {
    for (const proof of [{ cookie }, bearer(operator)]) {
      const answer = await decode(api, { ...ACME_NS, ...proof, origin }, [sealed]);
      expect(refusal(answer)).toEqual([403, 'FORBIDDEN']);
      expect([...answer.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
    }
    const headers = {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'x-namespace',
    };
    const preflight = await fetch(`${api.url}/codec/decode`, { method: 'OPTIONS', headers });
    expect(preflight.status).toBe(405);
    expect([...preflight.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  it('attack: another tenant’s namespace is answered as one that does not exist', async () => {
    const spoofs = [
      'tnt-globex',
      'tnt-nobody',
      '',
      'tnt-acme,tnt-globex',
      'TNT-ACME',
      'temporal-system',
      'tnt-acme ',
    ];
    const answers = await Promise.all(
      spoofs.map((namespace) => decode(api, { ...bearer(operator), 'x-namespace': namespace }, [sealed])),
    );
    // fetch trims a header's value, so the last one is the own namespace
    expect(answers.pop()?.status).toBe(200);
    answers.push(await decode(api, bearer(operator), [sealed]));
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(refusal(answers[0]!)).toEqual([404, 'NOT_FOUND']);
  });

  it('attack: another tenant’s ciphertext, as it is and dressed up as the own one', async () => {
    const own = (await sealedFor(api, GLOBEX, 'x')).metadata;
    const dressed = [
      sealed.metadata,
      own,
      { ...sealed.metadata, tenant: own['tenant']! },
      { ...sealed.metadata, 'key-id': own['key-id']! },
    ];
    const headers = { ...bearer(globex), 'x-namespace': 'tnt-globex' };
    for (const metadata of dressed) {
      const answer = await decode(api, headers, [{ ...sealed, metadata }]);
      expect(refusal(answer)).toEqual([400, 'REFUSED']);
      expect(answer.text).not.toContain('ill');
    }
    expect(await records()).toHaveLength(dressed.length);
  });

  it('attack: other methods, other types, what is no request, too many and too much', async () => {
    const headers = { ...ACME_NS, ...bearer(operator) };
    const send = async (body: string, type = 'application/json'): Promise<number> =>
      (
        await fetch(`${api.url}/codec/decode`, {
          method: 'POST',
          headers: { ...headers, 'content-type': type },
          body,
        })
      ).status;
    for (const method of ['GET', 'PUT', 'DELETE'])
      expect((await fetch(`${api.url}/codec/decode`, { method, headers })).status).toBe(405);
    expect((await fetch(`${api.url}/codec/encode`, { method: 'POST', headers })).status).toBe(404);
    const one = JSON.stringify({ payloads: [sealed] });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])
      expect(await send(one, type)).toBe(415);
    const wrong = [
      '',
      '{',
      '[]',
      '{}',
      '{"payloads":{}}',
      '{"payloads":[1]}',
      '{"payloads":[{"data":"%"}]}',
      '{"payloads":[{"metadata":{"encoding":1}}]}',
    ];
    for (const body of wrong) expect([400, 415]).toContain(await send(body));
    expect(await send(JSON.stringify({ payloads: Array.from({ length: 2_001 }, () => ({})) }))).toBe(400);
    expect(await send(JSON.stringify({ payloads: [{ data: 'A'.repeat(4 * 1024 * 1024) }] }))).toBe(413);
    expect(await send(one)).toBe(200);
  });

  it('is closed for whoever’s key was revoked, in the browser as well', async () => {
    const key = await api.key(ACME, 'admin');
    const session = { cookie: await sessionCookie(api, key), origin: OWN_PAGE };
    const ask = async (headers: Record<string, string>) =>
      (await decode(api, { ...ACME_NS, ...headers }, [sealed])).status;
    expect([await ask(bearer(key)), await ask(session)]).toEqual([200, 200]);
    await revokeApiKey(api.deps.door.tenant(ACME), key.slice(4, 12));
    expect([await ask(bearer(key)), await ask(session)]).toEqual([401, 401]);
  });
});
