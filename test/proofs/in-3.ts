import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WebSocket } from 'ws';
import { ACME, field, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { codesOf, rawHttp } from '../support/raw-http.js';
import type { RawAnswer, RawRequest } from '../support/raw-http.js';
import { cookieOf, signIn } from '../support/sign-in.js';
import { zeroOf } from './proof.js';
import type { Proof } from './proof.js';

const MUTATION = 'mutation { createSignInLink { url } }';
const LISTED = '{ me { role } }';
const JSON_TYPE = { 'content-type': 'application/json' };

/**
 * What a page of another site, or a curious stranger, can send: forms, plain text, GET, cookies, preflights, websockets
 * of foreign origins, introspection, near names, documents off the list. All refused, and nothing has happened.
 */
export const run: Proof = async ({ progress }) => {
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-in-3-'));
  const documents = join(folder, 'documents.json');
  await writeFile(documents, JSON.stringify([LISTED]));
  // as in production: neither GraphiQL nor introspection
  const [api, listed] = [await startApi({ development: false }), await startApi({ documents })];
  try {
    const results = [
      ...(await crossSite(api)),
      ...(await origins(api)),
      ...(await curiosity(api)),
      ...(await offTheList(listed)),
    ];
    progress(`${results.length} attempts`);
    const faults = results.flatMap(({ name, fault }) => (fault === undefined ? [] : [`${name}: ${fault}`]));
    return zeroOf('answers that were no refusal', results.length, faults);
  } finally {
    await api.close();
    await listed.close();
    await rm(folder, { recursive: true });
  }
};

interface Result {
  readonly name: string;
  readonly fault: string | undefined;
}

const expectCode = (name: string, answer: RawAnswer, code: string): Result => ({
  name,
  fault:
    codesOf(answer.text)?.join() === code && !answer.text.includes('"data":{')
      ? undefined
      : answer.text.slice(0, 200),
});

/** With a genuine key, which a page of another site would not have: the refusal must not depend on that. */
async function crossSite(api: TestApi): Promise<Result[]> {
  const http = rawHttp(api.url);
  const authorization = `Bearer ${await api.key(ACME, 'admin')}`;
  const cookie = await sessionCookie(api, authorization.slice(7));
  const query = `/graphql?query=${encodeURIComponent(MUTATION)}`;
  const typed = (type: string, body: string): RawRequest => ({ headers: { 'content-type': type }, body });
  const text = JSON.stringify({ query: MUTATION });
  const links = async (): Promise<number> =>
    (await api.database.asOwner("SELECT 1 FROM sessions WHERE kind = 'link'")).length;
  const before = await links();
  const attempts: [string, RawRequest, string][] = [
    [
      'form',
      typed('application/x-www-form-urlencoded', `query=${encodeURIComponent(MUTATION)}`),
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    [
      'form with JSON as its name',
      typed('application/x-www-form-urlencoded', `${text}=`),
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    [
      'multipart form',
      typed(
        'multipart/form-data; boundary=x',
        `--x\r\ncontent-disposition: form-data; name="query"\r\n\r\n${MUTATION}\r\n--x--`,
      ),
      'UNSUPPORTED_MEDIA_TYPE',
    ],
    ['plain text', typed('text/plain', text), 'UNSUPPORTED_MEDIA_TYPE'],
    ['plain text; application/json', typed('text/plain; application/json', text), 'UNSUPPORTED_MEDIA_TYPE'],
    ['application/graphql', typed('application/graphql', MUTATION), 'UNSUPPORTED_MEDIA_TYPE'],
    ['no type', { body: text }, 'UNSUPPORTED_MEDIA_TYPE'],
    ['no body', {}, 'UNSUPPORTED_MEDIA_TYPE'],
    ['GET mutation', { method: 'GET', path: query }, 'METHOD_NOT_ALLOWED'],
    [
      'GET query',
      { method: 'GET', path: `/graphql?query=${encodeURIComponent(LISTED)}` },
      'METHOD_NOT_ALLOWED',
    ],
    ['POST with the query in the URL', { path: query, headers: JSON_TYPE, body: '{}' }, 'BAD_USER_INPUT'],
    [
      'POST that says it is a GET',
      { method: 'GET', path: query, headers: { 'x-http-method-override': 'POST' } },
      'METHOD_NOT_ALLOWED',
    ],
    ...['PUT', 'PATCH', 'DELETE', 'OPTIONS'].map((method): [string, RawRequest, string] => [
      method,
      { method },
      'METHOD_NOT_ALLOWED',
    ]),
  ];
  const results: Result[] = [];
  for (const [name, given, code] of attempts) {
    const headers = { authorization, cookie, origin: 'https://evil.example', ...given.headers };
    const answer = await http.send({ ...given, headers });
    results.push(expectCode(name, answer, code));
    results.push({ name: `${name}: no permission for other sites`, fault: allowsOthers(answer) });
  }
  const byCookie = await http.send({ headers: { ...JSON_TYPE, cookie }, body: text });
  results.push(expectCode('a signed-in browser without a key', byCookie, 'UNAUTHENTICATED'));
  results.push({ name: 'effects', fault: (await links()) === before ? undefined : 'a link was made' });
  http.close();
  return results;
}

const allowsOthers = ({ headers }: RawAnswer): string | undefined =>
  Object.keys(headers).find((name) => name.startsWith('access-control-'));

async function sessionCookie(api: TestApi, key: string): Promise<string> {
  const { url } = field<{ url: string }>(await api.ask(key, MUTATION), 'createSignInLink');
  return cookieOf(await signIn(api.url, url));
}

const FOREIGN = [
  'https://evil.example',
  'null',
  'http://bulkhead.test.evil.example',
  'http://evil.example/http://bulkhead.test',
  'https://bulkhead.test',
  'http://bulkhead.test:81',
  'http://127.0.0.1',
  'http://localhost',
  'file://',
  'bulkhead.test',
  'http://bulkhead.test@evil.example',
  '',
];

async function origins(api: TestApi): Promise<Result[]> {
  const results: Result[] = [];
  for (const origin of FOREIGN) {
    const status = await new Promise<unknown>((resolve) => {
      const socket = new WebSocket(`${api.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws', {
        headers: { origin },
      });
      socket.once('unexpected-response', (_request, answer) => resolve(answer.statusCode));
      socket.once('open', () => resolve('open'));
      socket.on('error', () => resolve('error'));
    });
    results.push({
      name: `websocket of ${origin || 'an empty origin'}`,
      fault: status === 403 ? undefined : String(status),
    });
  }
  return results;
}

const INTROSPECTION = [
  '{ __schema { types { name } } }',
  '{ __type(name: "Run") { fields { name } } }',
  '{ a: __schema { queryType { name } } }',
  '{ ...f } fragment f on Query { __schema { types { name } } }',
  '{ ... on Query { __type(name: "Tenant") { name } } }',
  '{ me { role } ... @include(if: true) { __schema { types { name } } } }',
  'mutation { __schema { types { name } } }',
];
const NEAR = [
  '{ mee { role } }',
  '{ me { rol } }',
  '{ run(idd: "x") { id } }',
  '{ runs(state: runing) { endCursor } }',
  'query ($s: RunStat) { runs(state: $s) { endCursor } }',
  '{ me { ... on Mee { role } } }',
  '{ me @inclde(if: true) { role } }',
  'mutation { startRun(input: { agentID: "x", idempotencyKey: "k", input: {} }) { id } }',
  'mutation { aprove(id: "x") { id } }',
];

async function curiosity(api: TestApi): Promise<Result[]> {
  const key = await api.key(ACME, 'admin');
  const http = rawHttp(api.url);
  const ask = (query: string, variables = {}): Promise<RawAnswer> =>
    http.send({
      headers: { ...JSON_TYPE, authorization: `Bearer ${key}` },
      body: JSON.stringify({ query, variables }),
    });
  const results: Result[] = [];
  for (const query of INTROSPECTION)
    results.push(expectCode(query, await ask(query), 'INTROSPECTION_DISABLED'));
  const near = [
    ...NEAR.map((query) => ask(query)),
    ask('query ($s: RunState) { runs(state: $s) { endCursor } }', { s: 'runing' }),
  ];
  for (const answer of await Promise.all(near)) {
    const silent = !/did you mean|running|approve\b/i.test(answer.text);
    results.push({
      name: 'a near name',
      fault: silent && answer.text.includes('"errors"') ? undefined : answer.text,
    });
  }
  const page = await http.send({ method: 'GET', path: '/graphiql' });
  results.push({ name: 'GraphiQL', fault: page.status === 404 ? undefined : String(page.status) });
  http.close();
  return results;
}

async function offTheList(api: TestApi): Promise<Result[]> {
  const key = await api.key(ACME, 'admin');
  const http = rawHttp(api.url);
  const send = (body: object): Promise<RawAnswer> =>
    http.send({ headers: { ...JSON_TYPE, authorization: `Bearer ${key}` }, body: JSON.stringify(body) });
  const results: Result[] = [];
  for (const query of [MUTATION, `${LISTED} `, `#\n${LISTED}`, '{ __schema { types { name } } }', '{{'])
    results.push(expectCode('a document off the list', await send({ query }), 'DOCUMENT_NOT_LISTED'));
  const byHash = { extensions: { persistedQuery: { version: 1, sha256Hash: '0'.repeat(64) } } };
  results.push(expectCode('a hash', await send(byHash), 'BAD_USER_INPUT'));
  const good = await send({ query: LISTED });
  results.push({
    name: 'the document on the list',
    fault: good.text.includes('"role":"admin"') ? undefined : good.text,
  });
  http.close();
  return results;
}
