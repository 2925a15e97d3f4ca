import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOperatorKey } from '@bulkhead/tenancy/control';
import { NAMESPACE_READS, OPERATOR_READS, SYSTEM_READS } from '../../apps/api/src/temporal-ui/reads.js';
import { ACME, field, readTokenOf, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { rawHttp } from '../support/raw-http.js';
import { cookieOf, signIn } from '../support/sign-in.js';
import type { RawAnswer } from '../support/raw-http.js';

interface Route {
  readonly method: string;
  readonly path: string;
}

const text = await readFile(new URL('../support/ui-routes.txt', import.meta.url), 'utf8');
const [head = '', ...lines] = text.trim().split('\n');
const ROUTES: readonly Route[] = lines.map((line) => {
  const [method = '', path = ''] = line.split(/\s+/);
  return { method, path };
});

const NAMESPACE = '/api/v1/namespaces/{namespace}';
/** Reads of the API that nobody gets, and why. */
const REFUSED_READS: Readonly<Record<string, string>> = {
  '/api/v1/releases': 'asks the world for newer versions',
  '/api/v1/ui-extensions': 'settings of an operator that this installation does not have',
};
type Decision = 'own' | 'list' | 'system' | 'settings' | 'refused' | 'operator' | 'file' | 'write';

/** undefined: a route that nobody has thought about. */
function decisionOn({ method, path }: Route): Decision | undefined {
  if (method !== 'GET') return 'write';
  if (path.startsWith('/auth/')) return 'refused';
  if (!path.startsWith('/api/')) return 'file'; // served without a token: the UI's own files, or its page
  if (path in REFUSED_READS) return 'refused';
  const rest = path.replace('/api/v1/', '');
  if (rest === 'settings') return 'settings';
  if (rest === 'namespaces') return 'list';
  if ((SYSTEM_READS as readonly string[]).includes(rest)) return 'system';
  if ((OPERATOR_READS as readonly string[]).includes(rest)) return 'operator';
  if (path === NAMESPACE) return 'own';
  return (NAMESPACE_READS as readonly string[]).includes(path.replace(`${NAMESPACE}/`, ''))
    ? 'own'
    : undefined;
}

/** Its parts, whatever they are called. */
const shapeOf = ({ path }: Route): string => path.replaceAll(/\{[^}]+\}/g, '{}');
const targetOf = ({ path }: Route, namespace: string): string =>
  `/temporal${path
    .replace('{namespace}', namespace)
    .replaceAll(/\{[^}]+\}/g, 'some.thing%2F1')
    .replaceAll('*', 'x.js')}`;

describe('every route of the pinned Temporal UI server', () => {
  let ui: Server;
  let api: TestApi;
  let http: ReturnType<typeof rawHttp>;
  let acme: string;
  let operator: string;
  let seen: IncomingMessage[] = [];

  beforeAll(async () => {
    ui = createServer((request, response) => {
      seen.push(request);
      response.setHeader('content-type', 'application/json').end('{"reached":true}');
    });
    await new Promise<void>((resolve) => {
      ui.listen(0, '127.0.0.1', resolve);
    });
    api = await startApi({ uiAddress: `127.0.0.1:${(ui.address() as AddressInfo).port}` });
    http = rawHttp(api.url);
    acme = await session(await api.key(ACME, 'operator'));
    operator = await session(
      (await createOperatorKey(api.deps.control, { name: 'on call', createdBy: 'test' })).key,
    );
  });
  afterAll(async () => {
    http?.close();
    await api?.close();
    ui?.close();
  });

  async function session(key: string): Promise<string> {
    const { url } = field<{ url: string }>(
      await api.ask(key, 'mutation { createSignInLink { url } }'),
      'createSignInLink',
    );
    return cookieOf(await signIn(api.url, url));
  }
  /** The answer, and what reached the UI server: the path and whose token. */
  const send = async (cookie: string, method: string, path: string): Promise<[RawAnswer, string[]]> => {
    seen = [];
    const answer = await http.send({ method, path, headers: { cookie } });
    return [answer, seen.map(({ url, headers }) => `${url} ${headers.authorization ?? 'no token'}`)];
  };
  const withToken = (path: string, whose: string): string[] => [`${path} Bearer ${readTokenOf(whose)}`];
  /** What a caller can tell about an answer; the time of day is the clock's. */
  const visible = ({ status, headers, text: body }: RawAnswer): unknown => [
    status,
    { ...headers, date: undefined },
    body,
  ];

  it('is in the list that was made of the pinned versions, and has a decision', async () => {
    const pinned = await readFile(new URL('../../temporal/server/go.mod', import.meta.url), 'utf8');
    for (const module of ['github.com/temporalio/ui-server/v2', 'go.temporal.io/api']) {
      const version = new RegExp(`${module} (v\\S+)`).exec(pinned)?.[1] ?? 'none';
      expect(head, 'run test/support/list-ui-routes.mjs').toContain(`${module} ${version}`);
    }
    expect(ROUTES.length).toBeGreaterThan(200);
    expect(ROUTES.filter((route) => decisionOn(route) === undefined)).toEqual([]);
    // and nothing is allowed that the server does not have
    const paths = new Set(ROUTES.map(({ path }) => path));
    const reads = NAMESPACE_READS.map((read) => `${NAMESPACE}/${read}`);
    const others = [...SYSTEM_READS, ...OPERATOR_READS].map((read) => `/api/v1/${read}`);
    expect([...reads, ...others].filter((path) => !paths.has(path))).toEqual([]);
  });

  it('gives a person the reads of their own namespace, with their own token', async () => {
    for (const route of ROUTES) {
      const target = targetOf(route, 'tnt-acme');
      const [{ status }, reached] = await send(acme, 'GET', target);
      const expected: Record<Decision, string[]> = {
        own: withToken(target, 'acme'),
        list: withToken('/temporal/api/v1/namespaces/tnt-acme', 'acme'),
        system: withToken(target, 'system'),
        settings: [`${target} no token`],
        file: [`${target} no token`],
        refused: [],
        operator: [],
        write: [],
      };
      // some writes have the path of a read, and then the read is meant here
      const same =
        ROUTES.find((other) => other.method === 'GET' && shapeOf(other) === shapeOf(route)) ?? route;
      const decision = decisionOn(same) ?? 'refused';
      // an unmounted path is no path of the API: the UI server answers it with its page, which has no token either
      const unmounted = decision === 'write' && !route.path.startsWith('/api/');
      expect(reached, target).toEqual(unmounted ? expected.file : expected[decision]);
      expect(status, target).toBe(reached.length === 0 ? 404 : 200);
    }
  }, 120_000);

  it('answers for a foreign namespace exactly as for one that does not exist, and asks nobody', async () => {
    const inside = ROUTES.filter(({ path }) => path.includes('{namespace}') && path.startsWith('/api/'));
    expect(inside.length).toBeGreaterThan(80);
    for (const route of inside) {
      const [foreign, one] = await send(acme, 'GET', targetOf(route, 'tnt-globex'));
      const [random, two] = await send(acme, 'GET', targetOf(route, 'tnt-zq81xv'));
      expect([one, two], route.path).toEqual([[], []]);
      expect(foreign.status).toBe(404);
      expect(visible(foreign), route.path).toEqual(visible(random));
    }
  }, 120_000);

  it('writes nothing: neither by the method that it has nor by any other, in no namespace, for nobody', async () => {
    for (const route of ROUTES.filter(({ method }) => method !== 'GET')) {
      for (const cookie of [acme, operator])
        for (const namespace of ['tnt-acme', 'tnt-globex', 'tnt-zq81xv']) {
          const [answer, reached] = await send(cookie, route.method, targetOf(route, namespace));
          expect([answer.status, reached], `${route.method} ${route.path}`).toEqual([405, []]);
        }
    }
    for (const path of new Set(ROUTES.map((route) => targetOf(route, 'tnt-acme')))) {
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
        const [answer, reached] = await send(acme, method, path);
        expect([answer.status, reached], `${method} ${path}`).toEqual([405, []]);
      }
    }
  }, 120_000);

  it('gives an operator of the platform the reads of every namespace', async () => {
    for (const route of ROUTES.filter(({ method }) => method === 'GET')) {
      const decision = decisionOn(route);
      for (const namespace of ['tnt-acme', 'tnt-globex']) {
        const target = targetOf(route, namespace);
        const [answer, reached] = await send(operator, 'GET', target);
        const read = ['own', 'list', 'system', 'operator'].includes(decision ?? '');
        const file = ['settings', 'file'].includes(decision ?? '');
        expect(reached, target).toEqual(
          read ? withToken(target, 'system') : file ? [`${target} no token`] : [],
        );
        expect(answer.status, target).toBe(read || file ? 200 : 404);
      }
    }
  }, 120_000);

  it('shows nothing to a stranger', async () => {
    for (const path of new Set(ROUTES.map((route) => targetOf(route, 'tnt-acme')))) {
      const [answer, reached] = await send('bulkhead_session=x', 'GET', path);
      expect([answer.status, reached], path).toEqual([401, []]);
    }
  }, 120_000);
});
