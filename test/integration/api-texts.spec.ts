import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOperatorKey } from '@bulkhead/tenancy/control';
import { ACME, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { crossTenantMatrix } from '../support/cross-tenant.js';
import { withSlot } from '../support/schema-walk.js';
import type { RootField, TextPlace } from '../support/schema-walk.js';

/** No column can hold these. */
const UNSTORABLE = ['a\u0000b', '\u0000', 'a\ud83d', '\udc00'];
/** Columns can hold these, but they are no ids, and some are longer than an index takes. */
const MALFORMED = [
  '',
  ' ',
  '.',
  'acme',
  'acme.run',
  'acme.run.',
  'A'.repeat(255),
  '%',
  "'",
  '🙂',
  '../x',
  '7',
];

describe('every text of the API', () => {
  let api: TestApi;
  let callers: readonly string[];
  let fields: readonly RootField[];

  beforeAll(async () => {
    api = await startApi();
    const operator = await createOperatorKey(api.deps.control, { name: 'op', createdBy: 'test' });
    callers = [await api.key(ACME, 'admin'), operator.key];
    ({ fields } = await crossTenantMatrix());
  });
  afterAll(() => api?.close());

  const places = () => fields.flatMap((root) => root.texts.map((place) => ({ root, place })));
  const send = (key: string, root: RootField, place: TextPlace, value: string): Promise<Answer> => {
    const variables = withSlot(root.variables(), place.path, place.isList ? [value] : value);
    return root.kind === 'subscription'
      ? refusalOf(api, key, root.document, variables)
      : api.ask(key, root.document, variables);
  };
  const told = ({ errors }: Answer) => errors?.map(({ extensions: { code, field } }) => [code, field]);

  it('is refused by name where no column can hold it', async () => {
    expect(places().length).toBeGreaterThan(100);
    for (const { root, place } of places()) {
      const field = [...place.path, ...(place.isList ? ['0'] : [])].join('.');
      for (const value of UNSTORABLE) {
        const answer = await send(callers[0] ?? '', root, place, value);
        expect([root.full, told(answer)]).toEqual([root.full, [['BAD_USER_INPUT', field]]]);
      }
    }
  });

  it('is refused as an id where it is too long for one', async () => {
    const ids = places().filter(({ place }) => place.isId);
    expect(ids.length).toBeGreaterThan(40);
    for (const { root, place } of ids) {
      for (const length of [257, 5_000]) {
        const answer = await send(callers[0] ?? '', root, place, 'a'.repeat(length));
        expect([root.full, told(answer)]).toEqual([root.full, [['BAD_USER_INPUT', place.path.join('.')]]]);
      }
    }
  });

  it('is never a fault of ours, whoever asks: malformed, empty, very long', async () => {
    const faults: unknown[] = [];
    for (const key of callers) {
      for (const { root, place } of places()) {
        for (const value of [...MALFORMED, ...(place.isId ? [] : ['x'.repeat(20_000)])]) {
          const answer = await send(key, root, place, value);
          const ours = answer.errors?.filter(({ extensions: { code } }) =>
            ['INTERNAL', 'UNAVAILABLE', 'TIMEOUT'].includes(code),
          );
          if (ours?.length) faults.push([root.full, place.path.join('.'), value.slice(0, 20), ours]);
        }
      }
    }
    expect(faults).toEqual([]);
    expect(api.logs.filter((line) => line.includes('request failed'))).toEqual([]);
  }, 120_000);

  it('is looked at where it stands in the document, in defaults, and in JSON', async () => {
    const key = await api.key(GLOBEX, 'admin');
    const asked = [
      ['{ run(id: "a\\u0000b") { id } }', 'id'],
      [`{ run(id: "${'a'.repeat(257)}") { id } }`, 'id'],
      ['query ($id: ID! = "\\u0000") { run(id: $id) { id } }', 'id'],
      ['mutation { resumeCalls(id: "x", reason: "\\u0000") { id } }', 'reason'],
      ['mutation { createWorkspace(input: { id: "w", name: """\u0000""" }) { id } }', 'input.name'],
    ] as const;
    for (const [query, field] of asked)
      expect([query, told(await api.ask(key, query))]).toEqual([query, [['BAD_USER_INPUT', field]]]);
    const start = 'mutation ($input: StartRunInput!) { startRun(input: $input) { id } }';
    for (const deep of [{ a: [{ b: '\u0000' }] }, { a: { '\u0000': 1 } }]) {
      const input = { agentId: 'support-triage', idempotencyKey: 'k', input: deep };
      expect(told(await api.ask(key, start, { input }))?.[0]?.[0]).toBe('BAD_USER_INPUT');
    }
  });
});

/** How a subscription ends that cannot begin, as an answer. */
async function refusalOf(
  api: TestApi,
  key: string,
  document: string,
  variables: Record<string, unknown>,
): Promise<Answer> {
  const events = api.subscribe(key, document, variables);
  try {
    await events.next();
    return { status: 200, data: {}, errors: undefined };
  } catch (error) {
    return { status: 200, data: null, errors: error as NonNullable<Answer['errors']> };
  } finally {
    await events.return?.();
  }
}
