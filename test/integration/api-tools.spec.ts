import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentId, workspaceId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { publishPolicy } from '@bulkhead/policy/admin';
import { putAgent } from '@bulkhead/tenancy/admin';
import { putTool, setToolEnabled } from '@bulkhead/tool-gateway/admin';
import { ACME, AGENT, GLOBEX, startApi } from '../support/api.js';
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
const AGENT_OF_THEIRS = {
  id: agentId('their-agent'),
  workspaceId: workspaceId('main'),
  name: 'theirs',
  description: 'theirs',
  workflowType: 'supportTriage',
  inputSchema: { type: 'object' },
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

  it('a whole server is ordered by an admin only, listed, and seen by nobody else', async () => {
    const IMPORT = `mutation ($server: JSON!) { importMcpTools(system: "notes", server: $server, reason: "notes") { id state } }`;
    const LIST = '{ mcpImports { id system state changes } }';
    const { data } = await api.ask(admin, IMPORT, { server: { url: 'https://notes.example/mcp' } });
    expect(data).toMatchObject({ importMcpTools: { state: 'asked' } });
    expect((await api.ask(admin, LIST)).data).toMatchObject({
      mcpImports: [{ system: 'notes', state: 'asked', changes: null }],
    });
    const WITH = `mutation ($server: JSON!, $credential: JSON) { importMcpTools(system: "keyed", server: $server, credential: $credential, reason: "notes") { credential } }`;
    const credential = { secret: 'notes-key', slot: { header: 'authorization', prefix: 'Bearer ' } };
    const server = { url: 'https://notes.example/mcp' };
    expect((await api.ask(admin, WITH, { server, credential })).data).toEqual({
      importMcpTools: { credential },
    });
    const local = await api.ask(admin, WITH, { server: { stdio: 'memory' }, credential });
    expect(local.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'credential' });
    expect(await codeOf(admin, IMPORT, { server: { command: 'sh' } })).toBe('BAD_USER_INPUT');
    expect((await api.ask(await api.key(GLOBEX, 'admin'), LIST)).data).toEqual({ mcpImports: [] });
    for (const role of ['operator', 'viewer'] as const) {
      const key = await api.key(ACME, role);
      expect(await codeOf(key, IMPORT, { server: { stdio: 'x' } })).toBe('FORBIDDEN');
      expect(await codeOf(key, LIST, {})).toBe('FORBIDDEN');
    }
  });

  describe('what an agent may call', () => {
    const CALLABLE = `query ($agentId: ID!) { agentTools(agentId: $agentId) { allowed asks tool { id } } }`;
    const declare = (id: string, more: object = {}) =>
      putTool(api.deps.door.tenant(ACME), id, { ...(SPEC as object), ...more });
    const publish = (rules: readonly Json[]) =>
      publishPolicy(api.deps.door.tenant(ACME), {
        profile: 'default',
        document: { rules },
        publishedBy: 'test',
        reason: 'test',
      });
    const callable = async (key = admin): Promise<unknown> =>
      (await api.ask(key, CALLABLE, { agentId: AGENT })).data?.['agentTools'];

    it('is what the policy in force leaves: some calls, all calls or with a person, and never what is off', async () => {
      const schema = { type: 'object', properties: { n: { type: 'number' } }, additionalProperties: false };
      for (const id of [
        'list.always',
        'list.asked',
        'list.denied',
        'list.elsewhere',
        'list.off',
        'list.unnamed',
      ])
        await declare(id, id === 'list.elsewhere' ? { url: 'https://evil.example/' } : {});
      await declare('list.some', { inputSchema: schema });
      await setToolEnabled(api.deps.door.tenant(ACME), 'list.off', false, { actor: 'test', reason: 'off' });
      const allow = ['list.always', 'list.some', 'list.asked', 'list.denied', 'list.elsewhere', 'list.off'];
      await publish([
        { id: 'allow', effect: 'allow', tools: allow },
        {
          id: 'hosts',
          effect: 'deny',
          tools: ['*'],
          when: { 'destination.host': { domain: ['evil.example'] } },
        },
        { id: 'none', effect: 'deny', tools: ['list.denied'], when: { agent: { eq: AGENT } } },
        { id: 'small', effect: 'deny', tools: ['list.some'], when: { 'args.n': { gt: 3 } } },
        {
          id: 'ask',
          effect: 'ask',
          tools: ['list.asked'],
          approval: { approvers: ['admin'], expiresInSeconds: 60 },
        },
      ]);
      expect(await callable()).toEqual([
        { allowed: 'always', asks: 'never', tool: { id: 'list.always' } },
        { allowed: 'always', asks: 'always', tool: { id: 'list.asked' } },
        { allowed: 'sometimes', asks: 'never', tool: { id: 'list.some' } },
      ]);
      expect(await callable(await api.key(ACME, 'viewer'))).toHaveLength(3);
    });

    it('is nothing under a policy that cannot be read, or under none', async () => {
      await publish([{ id: 'allow', effect: 'allow', tools: ['*'] }]);
      expect(await callable()).not.toEqual([]);
      await api.database.asOwner(`UPDATE policies SET document = '{"rules": 7}' WHERE tenant_id = 'acme'`);
      expect(await callable()).toEqual([]);
      await api.database.asOwner("DELETE FROM policy_heads WHERE tenant_id = 'acme'");
      expect(await callable()).toEqual([]);
    });

    it('attack: a foreign agent and one that is not there are the same', async () => {
      const globex = await api.key(GLOBEX, 'admin');
      await putAgent(api.deps.door.tenant(GLOBEX), AGENT_OF_THEIRS);
      const answers = await Promise.all(
        [AGENT_OF_THEIRS.id, 'nobody', "' OR 1=1"].map((agentId) => api.ask(admin, CALLABLE, { agentId })),
      );
      expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
      expect(answers[0]?.errors?.[0]?.extensions.code).toBe('NOT_FOUND');
      const own = await api.ask(globex, CALLABLE, { agentId: AGENT_OF_THEIRS.id });
      expect(own.errors).toBeUndefined();
    });
  });
});
