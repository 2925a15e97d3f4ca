import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { ACME, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { codesOf, rawHttp } from '../support/raw-http.js';

const LIMIT = 5;
const GOOD = '{ me { role } }';
const UNKNOWN_FIELD = '{ me { nonsense } }';
const headersOf = (key: string, more = {}): Record<string, string> => ({
  'content-type': 'application/json',
  authorization: `Bearer ${key}`,
  ...more,
});

describe('a key whose documents are refused again and again', () => {
  let api: TestApi;
  let http: ReturnType<typeof rawHttp>;

  beforeAll(async () => {
    api = await startApi({ refusalsPerMinute: LIMIT });
    http = rawHttp(api.url);
  });
  afterAll(async () => {
    http?.close();
    await api?.close();
  });

  const send = async (key: string, body: string, more = {}): Promise<string | undefined> =>
    codesOf((await http.send({ headers: headersOf(key, more), body })).text)?.join();
  const ask = (key: string, query: string): Promise<string | undefined> =>
    send(key, JSON.stringify({ query }));

  it.each([
    ['do not fit the schema', JSON.stringify({ query: UNKNOWN_FIELD }), {}, 'BAD_USER_INPUT'],
    ['are no GraphQL', JSON.stringify({ query: '{{{' }), {}, 'BAD_USER_INPUT'],
    ['are no JSON', '{"query":', {}, 'BAD_USER_INPUT'],
    ['ask for too much', JSON.stringify({ query: '{a'.repeat(1_000) }), {}, 'QUERY_TOO_COMPLEX'],
    ['are too large', JSON.stringify({ query: '#'.repeat(300_000) }), {}, 'PAYLOAD_TOO_LARGE'],
    ['are of another type', GOOD, { 'content-type': 'text/plain' }, 'UNSUPPORTED_MEDIA_TYPE'],
  ])('waits when they %s', async (_what, body, more, code) => {
    const key = await api.key(ACME, 'viewer');
    for (let i = 0; i < LIMIT; i += 1) {
      expect(await ask(key, GOOD)).toBe('');
      expect(await send(key, body, more)).toMatch(new RegExp(`^${code}`));
    }
    const answer = await http.send({ headers: headersOf(key), body: JSON.stringify({ query: GOOD }) });
    expect(answer.status).toBe(429);
    expect(JSON.parse(answer.text)).toMatchObject({
      data: null,
      errors: [{ extensions: { code: 'TOO_MANY_REQUESTS', limit: LIMIT } }],
    });
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(5);
    expect(Number(answer.headers['retry-after'])).toBeLessThanOrEqual(12);
    expect(await ask(await api.key(ACME, 'viewer'), GOOD)).toBe('');
  });

  it('is not even looked up while it waits', async () => {
    const key = await api.key(ACME, 'viewer');
    for (let i = 0; i < LIMIT; i += 1) await ask(key, UNKNOWN_FIELD);
    await api.database.asOwner('UPDATE api_keys SET revoked_at = now() WHERE prefix = $1', [
      key.slice(4, 12),
    ]);
    expect(await ask(key, GOOD)).toBe('TOO_MANY_REQUESTS');
  });

  it('may be told as often as it likes what was found while its documents were carried out', async () => {
    const key = await api.key(ACME, 'viewer');
    for (let i = 0; i < 2 * LIMIT; i += 1) {
      expect(await ask(key, '{ run(id: "nobody-s") { id } }')).toBe('NOT_FOUND');
      expect(await ask(key, 'mutation { createSignInLink { url } }')).not.toBe('TOO_MANY_REQUESTS');
    }
  });

  it('cannot be made to wait by people who do not have it', async () => {
    const key = await api.key(ACME, 'viewer');
    for (let i = 0; i < 2 * LIMIT; i += 1) {
      await ask(`${key.slice(0, -2)}xx`, UNKNOWN_FIELD);
      await http.send({ headers: { 'content-type': 'text/plain' }, body: GOOD });
    }
    expect(await ask(key, GOOD)).toBe('');
  });

  it('is the same key however its header is written', async () => {
    const key = await api.key(ACME, 'viewer');
    const written = ['Bearer  KEY', 'bearer KEY', 'BEARER   KEY', 'bEARER KEY', 'Bearer KEY', 'beareR KEY'];
    for (const text of written.slice(0, LIMIT))
      expect(
        await send(key, JSON.stringify({ query: UNKNOWN_FIELD }), {
          authorization: text.replace('KEY', key),
        }),
      ).toBe('BAD_USER_INPUT');
    for (const text of written)
      expect(
        await send(key, JSON.stringify({ query: GOOD }), { authorization: text.replace('KEY', key) }),
      ).toBe('TOO_MANY_REQUESTS');
  });

  it('has no more of its documents read when it sends many at once', async () => {
    const key = await api.key(ACME, 'viewer');
    const told = await Promise.all(Array.from({ length: 60 }, () => ask(key, UNKNOWN_FIELD)));
    const of = (code: string): number => told.filter((told) => told === code).length;
    expect([of('BAD_USER_INPUT'), of('TOO_MANY_REQUESTS')]).toEqual([LIMIT, 60 - LIMIT]);
  });

  const open = async (key: string): Promise<WebSocket> => {
    const socket = new WebSocket(api.url.replace('http', 'ws') + '/graphql', 'graphql-transport-ws');
    await once(socket, 'open');
    const payload = { authorization: `Bearer ${key}` };
    socket.send(JSON.stringify({ type: 'connection_init', payload }));
    return socket;
  };
  const closed = async (socket: WebSocket): Promise<string> => {
    const [code, reason] = (await once(socket, 'close')) as [number, Buffer];
    return `${code} ${String(reason)}`;
  };
  const subscribe = (socket: WebSocket, id: string, query: string): void =>
    socket.send(JSON.stringify({ type: 'subscribe', id, payload: { query } }));

  it('is no longer listened to over a websocket, and opens none while it waits', async () => {
    const key = await api.key(ACME, 'viewer');
    const first = await open(key);
    await once(first, 'message');
    const ended = closed(first);
    for (let i = 0; i < LIMIT; i += 1) subscribe(first, `s${i}`, UNKNOWN_FIELD);
    expect(await ended).toBe('4429 TOO_MANY_REQUESTS');
    expect(await closed(await open(key))).toBe('4429 TOO_MANY_REQUESTS');
    expect(await ask(key, GOOD)).toBe('TOO_MANY_REQUESTS');
  });

  it('is not listened to over its other websockets either, whatever it asks there', async () => {
    const key = await api.key(ACME, 'viewer');
    const other = await open(key);
    await once(other, 'message');
    for (let i = 0; i < LIMIT; i += 1) await ask(key, UNKNOWN_FIELD);
    const ended = closed(other);
    const served = once(other, 'message').then(() => 'served');
    subscribe(other, 's', 'subscription { controlStates { scope } }');
    expect(await Promise.race([ended, served])).toBe('4429 TOO_MANY_REQUESTS');
  });
});
