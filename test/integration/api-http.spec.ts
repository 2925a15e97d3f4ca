import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { ACME, ask, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

const LOCKED = `SELECT 1 FROM pg_locks WHERE relation = 'agents'::regclass AND mode = 'AccessExclusiveLock' AND granted`;
const ME = '{ me { role } }';

describe('HTTP to the API', () => {
  let api: TestApi;
  let admin: string;

  beforeAll(async () => {
    api = await startApi({ requestSeconds: 1 });
    admin = await api.key(ACME, 'admin');
  });
  afterAll(() => api?.close());

  const send = async (init: RequestInit, path = '/graphql'): Promise<[number, unknown]> => {
    const headers = { authorization: `Bearer ${admin}`, ...init.headers };
    const response = await fetch(`${api.url}${path}`, { method: 'POST', ...init, headers });
    const text = await response.text();
    if (text === '') return [response.status, undefined];
    const { data, errors } = JSON.parse(text) as {
      data: unknown;
      errors?: { extensions: { code: string } }[];
    };
    return [response.status, errors ? errors.map(({ extensions: { code } }) => code).join() : data];
  };
  const json = { 'content-type': 'application/json' };

  it.each([
    ['a form', 'application/x-www-form-urlencoded', new URLSearchParams({ query: ME }).toString()],
    ['plain text', 'text/plain', JSON.stringify({ query: ME })],
    [
      'multipart',
      'multipart/form-data; boundary=x',
      `--x\r\ncontent-disposition: form-data; name="query"\r\n\r\n${ME}\r\n--x--\r\n`,
    ],
    ['application/graphql', 'application/graphql', ME],
    ['JSON under a name like it', 'application/json-patch+json', JSON.stringify({ query: ME })],
    ['two types', 'text/plain, application/json', JSON.stringify({ query: ME })],
  ])('does not read %s, which pages of other sites can send', async (_what, type, body) => {
    expect(await send({ headers: { 'content-type': type }, body })).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  });

  it('does not read a body without a type', async () => {
    expect(await send({ body: new Blob([JSON.stringify({ query: ME })]) })).toEqual([
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    ]);
    expect(await send({})).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
  });

  it.each(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('is not asked by %s', async (method) => {
    const path = `/graphql?query=${encodeURIComponent('mutation { createSignInLink { url } }')}`;
    expect(await send({ method }, path)).toEqual([405, 'METHOD_NOT_ALLOWED']);
  });

  it.each([
    ['a batch', `[{"query":"${ME}"},{"query":"${ME}"}]`, 'BAD_USER_INPUT'],
    ['a name twice', `{"query":"${ME}","query":"{ tools { id } }"}`, 'BAD_USER_INPUT'],
    ['a name twice in two spellings', `{"query":"${ME}","qu\\u0065ry":"{ tools { id } }"}`, 'BAD_USER_INPUT'],
    ['a huge number', `{"query":"${ME}","variables":{"n":12345678901234567890}}`, 'BAD_USER_INPUT'],
    ['an endless number', `{"query":"${ME}","variables":{"n":1e999}}`, 'BAD_USER_INPUT'],
    [
      'deep JSON',
      `{"query":"${ME}","variables":{"n":${'['.repeat(100)}${']'.repeat(100)}}}`,
      'QUERY_TOO_COMPLEX',
    ],
    ['deeper JSON', `{"query":"${ME}","variables":{"n":${'['.repeat(200_000)}`, 'QUERY_TOO_COMPLEX'],
    ['no object', '"text"', 'BAD_USER_INPUT'],
    ['a syntax tree', '{"query":{"kind":"Document","definitions":[]}}', 'BAD_USER_INPUT'],
    ['a subscription', '{"query":"subscription { runChanged(id: \\"x\\") { id } }"}', 'BAD_USER_INPUT'],
    ['an operation name that is none', `{"query":"${ME}","operationName":"a\\nb"}`, 'BAD_USER_INPUT'],
  ])('refuses %s', async (_what, body, code) => {
    expect((await send({ headers: json, body }))[1]).toBe(code);
  });

  it('looks at nothing of a stranger', async () => {
    for (const body of ['{{{', '[]', JSON.stringify({ query: '{ __schema { types { name } } }' })]) {
      const { status, errors } = await ask(api.url, undefined, body);
      expect([status, errors?.[0]?.extensions.code]).toEqual([401, 'UNAUTHENTICATED']);
    }
  });

  it('executes the operation that was named, also after another of the same document was compiled', async () => {
    const query = 'query a { me { role } } query b { tools { id } } mutation c { createSignInLink { url } }';
    const named = (operationName: string): Promise<unknown> =>
      send({ headers: json, body: JSON.stringify({ query, operationName }) }).then(([, data]) =>
        Object.keys(Object(data)).join(),
      );
    for (const name of ['a', 'a', 'a', 'a']) expect(await named(name)).toBe('me');
    expect(await named('b')).toBe('tools');
    expect(await named('c')).toBe('createSignInLink');
  });

  it('takes the default of a variable that is not given, each time and of the operation that was named', async () => {
    const query = `query a($yes: Boolean! = true) { me { role @include(if: $yes) actor @skip(if: $yes) } }
      query b($yes: Boolean! = false, $first: Int! = 1) { me { role @include(if: $yes) actor @skip(if: $yes) }
        runs(first: $first) { endCursor } }
      query c($yes: Boolean = true) { me { role @include(if: $yes) } }`;
    const fields = async (operationName: string, variables?: object): Promise<string> => {
      const [, data] = await send({
        headers: json,
        body: JSON.stringify({ query, operationName, variables }),
      });
      return Object.keys(Object(Reflect.get(Object(data), 'me'))).join();
    };
    for (let time = 0; time < 3; time += 1) {
      expect(await fields('a')).toBe('role');
      expect(await fields('b', {})).toBe('actor');
      expect(await fields('c')).toBe('role');
      expect(await fields('a', { yes: false })).toBe('actor');
    }
    const wrong = JSON.stringify({ query, operationName: 'a', variables: { yes: null } });
    for (let time = 0; time < 3; time += 1)
      expect(await send({ headers: json, body: wrong })).toEqual([200, 'BAD_USER_INPUT']);
  });

  it('tells when an answer takes too long, and logs the id', async () => {
    // one statement holds the lock, and its transaction ends with it
    const lock = api.database.asOwner('DO $$ BEGIN LOCK TABLE agents; PERFORM pg_sleep(2); END $$');
    await vi.waitFor(async () => expect(await api.database.asOwner(LOCKED)).toHaveLength(1));
    const { errors } = await api.ask(admin, '{ agents { id } }');
    await lock;
    expect(errors).toMatchObject([{ extensions: { code: 'TIMEOUT', id: expect.any(String) } }]);
    expect(api.logs.join('')).toContain(errors?.[0]?.extensions.id);
  });

  it('does not wait for a request that comes in drop by drop', async () => {
    const { hostname, port } = new URL(api.url);
    const socket = connect(Number(port), hostname);
    const started = performance.now();
    socket.write(
      `POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{`,
    );
    const answer = await new Promise<string>((resolve) => {
      let text = '';
      socket.on('data', (data) => (text += String(data)));
      socket.on('close', () => resolve(text));
    });
    expect(answer).toContain('408');
    expect(performance.now() - started).toBeLessThan(18_000);
  });

  it('answers the documents on its list only, when it has one', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'bulkhead-documents-'));
    const documents = join(folder, 'documents.json');
    await writeFile(documents, JSON.stringify([ME]));
    const listed = await startApi({ documents });
    const key = await listed.key(ACME, 'viewer');
    expect((await listed.ask(key, ME)).data).toEqual({ me: { role: 'viewer' } });
    expect((await listed.ask(key, `${ME} `)).errors).toMatchObject([
      { extensions: { code: 'DOCUMENT_NOT_LISTED' } },
    ]);
    const events = listed.subscribe(key, 'subscription { runChanged(id: "x") { id } }', {});
    await expect(events.next()).rejects.toMatchObject([{ extensions: { code: 'DOCUMENT_NOT_LISTED' } }]);
    await listed.close();
    await rm(folder, { recursive: true });
  });
});
