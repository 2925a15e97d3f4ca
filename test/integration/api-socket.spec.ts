import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

const WATCH = 'subscription ($id: ID!) { runChanged(id: $id) { id } }';

describe('a websocket to the API', () => {
  let api: TestApi;
  let operator: string;
  let run: string;

  beforeAll(async () => {
    api = await startApi({ subscriptions: { perTenant: 4, perCaller: 3 } });
    operator = await api.key(ACME, 'operator');
    const input = { agentId: AGENT, idempotencyKey: 'sockets', input: { ticketId: 'T-1' } };
    const query = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
    run = field<{ id: string }>(await api.ask(operator, query, { input }), 'startRun').id;
  });
  afterAll(() => api?.close());

  const connect = (
    options: WebSocket.ClientOptions = {},
    path = '/graphql',
    protocol = 'graphql-transport-ws',
  ) => new WebSocket(`${api.url.replace('http', 'ws')}${path}`, protocol, options);
  /** The status of a refused handshake, the code of a closed connection, or the type of the next message. */
  const next = (socket: WebSocket): Promise<unknown> =>
    new Promise((resolve) => {
      socket.once('unexpected-response', (_request, answer) => resolve(answer.statusCode));
      socket.once('close', (code, reason) => resolve(`${code} ${String(reason)}`));
      socket.once('message', (data) => resolve(JSON.parse(String(data))));
      socket.on('error', () => undefined); // told by one of the others
    });
  const opened = (socket: WebSocket): Promise<void> =>
    new Promise((resolve) => socket.once('open', () => resolve()));
  const init = (key: string): object => ({
    type: 'connection_init',
    payload: { authorization: `Bearer ${key}` },
  });
  const ready = async (key = operator): Promise<WebSocket> => {
    const socket = connect();
    await opened(socket);
    socket.send(JSON.stringify(init(key)));
    expect(await next(socket)).toEqual({ type: 'connection_ack' });
    return socket;
  };
  const ask = (socket: WebSocket, message: unknown): Promise<unknown> => {
    socket.send(typeof message === 'string' ? message : JSON.stringify(message));
    return next(socket);
  };
  const watch = (id: string, query = WATCH): object => ({
    type: 'subscribe',
    id,
    payload: { query, variables: { id: run } },
  });

  it('is opened by our own pages and by clients that are no page', async () => {
    for (const origin of [
      'https://evil.example',
      'null',
      'http://bulkhead.test.evil.example',
      'https://bulkhead.test',
    ])
      expect(await next(connect({ origin })), origin).toBe(403);
    const own = connect({ origin: 'http://bulkhead.test' });
    await opened(own);
    own.close();
    expect(await next(connect({}, '/other'))).toBe(404);
  });

  it('is closed when it does not say whose it is', async () => {
    const silent = connect();
    await opened(silent);
    const started = performance.now();
    expect(await next(silent)).toBe('4408 Connection initialisation timeout');
    expect(performance.now() - started).toBeLessThan(3_500);
    const stranger = connect();
    await opened(stranger);
    expect(await ask(stranger, init('bhk_nonsense'))).toBe('4401 UNAUTHENTICATED');
    const early = connect();
    await opened(early);
    expect(await ask(early, watch('1'))).toBe('4401 Unauthorized');
    const old = connect({}, '/graphql', 'graphql-ws');
    expect(await next(old)).not.toEqual({ type: 'connection_ack' });
  });

  it('takes no more strangers from one address than a few', async () => {
    const sockets = Array.from({ length: 60 }, () => connect());
    const refused = await Promise.all(
      sockets.map((socket) => Promise.race([next(socket), opened(socket).then(() => 'open')])),
    );
    expect(refused.filter((result) => result === 429)).toHaveLength(10);
    await Promise.all(
      sockets.map((socket) => (socket.readyState === WebSocket.OPEN ? next(socket) : undefined)),
    );
    (await ready()).close();
  });

  it.each([
    ['no JSON', '{', '4400 Invalid message received'],
    ['a name twice', '{"type":"ping","type":"pong"}', '4400 Invalid message received'],
    ['an unknown type', { type: 'start', id: '1' }, '4400 Invalid message received'],
    [
      'a syntax tree',
      { type: 'subscribe', id: '1', payload: { query: { kind: 'Document' } } },
      '4400 Invalid message received',
    ],
    ['a second introduction', init('x'), '4429 Too many initialisation requests'],
    ['more than 64 KiB', ' '.repeat(70_000), '1009 '],
  ])('is closed for %s', async (_what, message, how) => {
    expect(await ask(await ready(), message)).toBe(how);
  });

  it.each([
    ['a query', '{ me { role } }', 'BAD_USER_INPUT'],
    ['a mutation', 'mutation { createSignInLink { url } }', 'BAD_USER_INPUT'],
    ['no GraphQL', '{{', 'BAD_USER_INPUT'],
    [
      'two operations without a name',
      'subscription a { runChanged(id: "x") { id } } subscription b { runChanged(id: "x") { id } }',
      'BAD_USER_INPUT',
    ],
    [
      'aliases',
      `subscription { ${Array.from({ length: 30 }, (_, i) => `a${i}: runChanged(id: "x") { id }`).join(' ')} }`,
      'QUERY_TOO_COMPLEX',
    ],
    ['depth for the parser', `subscription { a(x: ${'['.repeat(5_000)} }`, 'QUERY_TOO_COMPLEX'],
    [
      'cost',
      `subscription { runChanged(id: "x") { ${Array.from({ length: 60 }, (_, i) => `j${i}: journal { ${'hash '.repeat(5)} }`).join(' ')} } }`,
      'QUERY_TOO_COMPLEX',
    ],
  ])('answers %s with a typed error and goes on', async (_what, query, code) => {
    const socket = await ready();
    expect(await ask(socket, watch('1', query))).toMatchObject({
      type: 'error',
      payload: [{ extensions: { code } }],
    });
    expect(await ask(socket, { type: 'ping' })).toEqual({ type: 'pong' });
    socket.close();
    await next(socket);
  });

  it('has room for some subscriptions of a caller and of a tenant, and gives the room back', async () => {
    const socket = await ready();
    for (const id of ['1', '2', '3'])
      expect(await ask(socket, watch(id))).toMatchObject({ type: 'next', id });
    const full = {
      type: 'error',
      payload: [{ extensions: { code: 'TOO_MANY_SUBSCRIPTIONS', limit: 3, found: 4 } }],
    };
    expect(await ask(socket, watch('4'))).toMatchObject(full);
    const other = await ready(await api.key(ACME, 'viewer'));
    expect(await ask(other, watch('1'))).toMatchObject({ type: 'next' });
    expect(await ask(other, watch('2'))).toMatchObject({ payload: [{ extensions: { limit: 4, found: 5 } }] });
    socket.send(JSON.stringify({ type: 'complete', id: '1' }));
    expect(await ask(socket, { type: 'ping' })).toEqual({ type: 'pong' });
    expect(await ask(other, watch('3'))).toMatchObject({ type: 'next' });
    socket.close();
    await next(socket);
    const again = await ready();
    for (const id of ['1', '2']) expect(await ask(again, watch(id))).toMatchObject({ type: 'next', id });
    for (const each of [again, other]) each.close();
  });

  it('has room for some connections of a caller', async () => {
    const key = await api.key(GLOBEX, 'viewer');
    const sockets = [await ready(key), await ready(key), await ready(key)];
    const fourth = connect();
    await opened(fourth);
    expect(await ask(fourth, init(key))).toBe('4429 TOO_MANY_SUBSCRIPTIONS');
    for (const socket of sockets) socket.close();
  });

  it('is closed while idle when its key is revoked', async () => {
    const key = await api.key(GLOBEX, 'viewer');
    const socket = await ready(key);
    const closed = next(socket);
    await api.database.asOwner('UPDATE api_keys SET revoked_at = now() WHERE prefix = $1', [
      key.slice(4, 12),
    ]);
    const started = performance.now();
    expect(await closed).toBe('4401 UNAUTHENTICATED');
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});
