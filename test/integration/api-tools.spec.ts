import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Json } from '@bulkhead/contract';
import { ACME, GLOBEX, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

const SPEC: Json = {
  adapter: 'http',
  description: 'Books a room.',
  inputSchema: { type: 'object', properties: {}, additionalProperties: false },
  method: 'POST',
  url: 'https://rooms.example/',
  effect: 'write',
  idempotency: 'keyed',
};
const FIELDS = '{ id version enabled disabledReason hold { until } spec versions { version actor reason } }';
const REGISTER = `mutation ($id: ID!, $spec: JSON!, $reason: String!) { registerTool(id: $id, spec: $spec, reason: $reason) ${FIELDS} }`;
const UPDATE = REGISTER.replace('registerTool', 'updateTool');
const ENABLE = `mutation ($id: ID!, $reason: String!) { enableTool(id: $id, reason: $reason) ${FIELDS} }`;
const DISABLE = ENABLE.replace('enableTool', 'disableTool');
const APPROVE = `mutation ($id: ID!, $pin: String!, $reason: String!) { approveToolOffer(id: $id, pin: $pin, reason: $reason) ${FIELDS} }`;

describe('tools over GraphQL', () => {
  let api: TestApi;
  let admin: string;
  beforeAll(async () => {
    api = await startApi();
    admin = await api.key(ACME, 'admin');
  });
  afterAll(() => api?.close());
  const codeOf = async (key: string, document: string, variables: object): Promise<string | undefined> => {
    const { errors } = await api.ask(key, document, { ...variables });
    return errors?.[0]?.extensions.code;
  };

  it('are declared, changed and switched by an admin, with a reason; each version stays', async () => {
    const id = 'rooms.book';
    const { data } = await api.ask(admin, REGISTER, { id, spec: SPEC, reason: 'we book rooms' });
    expect(data).toMatchObject({ registerTool: { id, version: 1, enabled: true, hold: null } });
    const spec = { ...(SPEC as object), timeoutMs: 5_000 };
    await api.ask(admin, UPDATE, { id, spec, reason: 'slower' });
    const off = await api.ask(admin, DISABLE, { id, reason: 'double bookings' });
    expect(off.data).toMatchObject({
      disableTool: { version: 2, enabled: false, disabledReason: 'double bookings' },
    });
    const on = await api.ask(admin, ENABLE, { id, reason: 'fixed' });
    expect(on.data).toMatchObject({
      enableTool: {
        enabled: true,
        disabledReason: null,
        versions: [
          { version: 2, reason: 'slower' },
          { version: 1, reason: 'we book rooms' },
        ],
      },
    });
    const rows = await api.deps.door
      .tenant(ACME)
      .run((tx) => tx.journalRecord.findMany({ where: { kind: 'control' } }));
    const changes = rows.map(({ body }) => body as { change?: string; toolId?: string; reason?: string });
    expect(changes).toContainEqual(
      expect.objectContaining({ change: 'tool_disabled', toolId: id, reason: 'double bookings' }),
    );
  });

  it('name the field that is wrong', async () => {
    const bad = async (spec: Json): Promise<unknown> => {
      const { errors } = await api.ask(admin, REGISTER, { id: 'rooms.bad', spec, reason: 'x' });
      return errors?.[0]?.extensions;
    };
    expect(await bad({ ...(SPEC as object), effect: 'nothing' })).toMatchObject({
      code: 'BAD_USER_INPUT',
      field: 'effect',
    });
    expect(await bad('a text')).toMatchObject({ code: 'BAD_USER_INPUT', field: 'spec' });
    const deep = JSON.parse(`${'{"a":'.repeat(60)}1${'}'.repeat(60)}`) as Json;
    expect(await bad(deep)).toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(await bad({ ...(SPEC as object), description: 'x'.repeat(200_000) })).toBeTruthy();
  });

  it('are not changed by others: an operator may only switch off, an author nothing', async () => {
    const operator = await api.key(ACME, 'operator');
    const author = await api.key(ACME, 'workflow-author');
    const call = { id: 'rooms.book', spec: SPEC, reason: 'x' };
    expect(await codeOf(operator, UPDATE, call)).toBe('FORBIDDEN');
    expect(await codeOf(operator, ENABLE, { id: call.id, reason: 'x' })).toBe('FORBIDDEN');
    expect(await codeOf(operator, DISABLE, { id: call.id, reason: 'x' })).toBeUndefined();
    expect(await codeOf(author, DISABLE, { id: call.id, reason: 'x' })).toBe('FORBIDDEN');
  });

  it("another tenant's tool is not there, like one that nobody has, and is not touched", async () => {
    const globex = await api.key(GLOBEX, 'admin');
    const bodies: unknown[] = [];
    for (const id of ['rooms.book', 'rooms.nobody', 'no tool at all']) {
      for (const [document, more] of [
        [UPDATE, { spec: SPEC }],
        [ENABLE, {}],
        [DISABLE, {}],
        [APPROVE, { pin: 'a'.repeat(64) }],
      ] as const) {
        const { errors } = await api.ask(globex, document, { id, reason: 'x', ...more });
        expect(errors?.[0]?.extensions.code).toBe('NOT_FOUND');
        bodies.push({ ...errors?.[0], path: null, extensions: { ...errors?.[0]?.extensions, id: null } });
      }
    }
    for (const body of bodies) expect(body).toEqual(bodies[0]);
    // a name of one's own may be what another tenant calls its tool
    expect(await codeOf(globex, REGISTER, { id: 'rooms.book', spec: SPEC, reason: 'ours' })).toBeUndefined();
    const { data } = await api.ask(admin, '{ tools { id version } }', {});
    expect(data).toMatchObject({
      tools: expect.arrayContaining([{ id: 'rooms.book', version: 2 }]) as unknown,
    });
  });

  it('without an offer there is nothing to approve', async () => {
    const pin = 'a'.repeat(64);
    expect(await codeOf(admin, APPROVE, { id: 'rooms.book', pin, reason: 'x' })).toBe('INVALID_STATE');
    expect(await codeOf(admin, APPROVE, { id: 'rooms.book', pin: 'short', reason: 'x' })).toBe(
      'BAD_USER_INPUT',
    );
    expect(await codeOf(admin, DISABLE, { id: 'rooms.book', reason: '  ' })).toBe('BAD_USER_INPUT');
  });
});
