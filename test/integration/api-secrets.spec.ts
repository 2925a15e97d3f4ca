import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';

const VALUE = 'sk-never-shown-77';
const FIELDS = 'name purpose access boundHosts agents tools version state';
const CREATE = `mutation ($name: ID!, $value: SecretValue!, $access: SecretAccess!, $hosts: [String!]!, $agents: [String!], $purpose: String) { createSecret(name: $name, value: $value, access: $access, boundHosts: $hosts, agents: $agents, purpose: $purpose, reason: "new desk") { ${FIELDS} } }`;
const ROTATE = `mutation ($name: ID!, $value: SecretValue!) { rotateSecret(name: $name, value: $value, reason: "yearly") { ${FIELDS} } }`;
const CHANGE = `mutation ($name: ID!, $agents: [String!], $anyAgent: Boolean = false) { changeSecret(name: $name, agents: $agents, anyAgent: $anyAgent, purpose: "less", reason: "fewer") { ${FIELDS} rulesVersion } }`;
const REVOKE = `mutation ($scope: RevocationScope!, $secret: ID, $target: ID, $dryRun: Boolean = false) { revokeSecrets(scope: $scope, secret: $secret, target: $target, dryRun: $dryRun, reason: "leaked") { id versions grants calls inForce waitingFor } }`;
const LIFT = `mutation ($id: ID!) { liftRevocation(id: $id, reason: "found") { id liftedBy liftReason } }`;
const LIST = `{ secrets { ${FIELDS} } secretRevocations { id scope secret target reason } }`;
const RANDOM = '01kb3v6r2e8m4q7x9z0a1b2c3d';

describe('secrets over GraphQL', () => {
  let api: TestApi;
  let admin: string;
  let globex: string;

  beforeAll(async () => {
    api = await startApi();
    admin = await api.key(ACME, 'admin');
    globex = await api.key(GLOBEX, 'admin');
  });
  afterAll(() => api?.close());

  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;
  const create = (key: string, name: string, more: object = {}): Promise<Answer> =>
    api.ask(key, CREATE, { name, value: VALUE, access: 'read', hosts: ['api.example.com'], ...more });

  it('is written, rotated, revoked and listed, and its value is in no answer and no log', async () => {
    const answers = [
      await create(admin, 'desk', { agents: [AGENT], purpose: 'tickets' }),
      await api.ask(admin, ROTATE, { name: 'desk', value: `${VALUE}-2` }),
      await api.ask(admin, REVOKE, { scope: 'secret', secret: 'desk', dryRun: true }),
      await api.ask(admin, REVOKE, { scope: 'secret', secret: 'desk' }),
      await api.ask(admin, LIST),
    ];
    expect(answers.map((answer) => answer.errors)).toEqual(answers.map(() => undefined));
    expect(field(answers[1]!, 'rotateSecret')).toEqual({
      name: 'desk',
      purpose: 'tickets',
      access: 'read',
      boundHosts: ['api.example.com'],
      agents: [AGENT],
      tools: null,
      version: 2,
      state: 'active',
    });
    expect(field(answers[2]!, 'revokeSecrets')).toMatchObject({ id: null, versions: 2, inForce: false });
    expect(field(answers[3]!, 'revokeSecrets')).toMatchObject({ versions: 2, inForce: true, waitingFor: [] });
    expect(field(answers[4]!, 'secrets')).toMatchObject([{ name: 'desk', version: 2, state: 'revoked' }]);
    expect(JSON.stringify(answers) + api.logs.join('')).not.toContain(VALUE);
    const read = await api.ask(admin, '{ secrets { value } }');
    expect(read.errors).toBeDefined();
  });

  it('attack: a value in the document, of a wrong type, beside other mistakes or in a wrong place is refused and never quoted', async () => {
    const literal = CREATE.replace('value: $value', `value: "${VALUE}"`).replace(
      '$value: SecretValue!, ',
      '',
    );
    const base = { name: 'x-one', value: VALUE, access: 'read', hosts: ['a.example.com'] };
    const answers = await Promise.all([
      api.ask(admin, literal, { name: 'x-one', access: 'read', hosts: ['a.example.com'] }),
      api.ask(admin, CREATE.replace('$value: SecretValue!', `$value: SecretValue! = "${VALUE}"`), base),
      api.ask(admin, CREATE.replace('SecretValue!', 'String!'), base),
      api.ask(admin, CREATE, { ...base, value: { deep: [VALUE] } }),
      api.ask(admin, CREATE, { ...base, value: [VALUE] }),
      api.ask(admin, CREATE, { ...base, value: `${VALUE} with spaces` }),
      api.ask(admin, CREATE, { ...base, access: 'everything' }),
      api.ask(admin, CREATE, { ...base, name: undefined }),
      api.ask(admin, CREATE, { ...base, hosts: ['https://a.example.com/x'] }),
      api.ask(admin, CREATE, { ...base, hosts: [] }),
      api.ask(admin, CREATE, { ...base, value: null }),
    ]);
    expect(answers.map((answer) => answer.errors !== undefined)).toEqual(answers.map(() => true));
    expect(JSON.stringify(answers)).not.toContain(VALUE);
    expect(api.logs.join('')).not.toContain(VALUE);
    const { rows } = { rows: await api.database.asOwner("SELECT 1 FROM secrets WHERE name = 'x-one'") };
    expect(rows).toEqual([]);
  });

  it('is changed without its value by an admin, and told apart from one that nobody may change', async () => {
    await create(admin, 'shared', { agents: [AGENT] });
    const changed = await api.ask(admin, CHANGE, { name: 'shared', agents: [AGENT, 'second'] });
    expect(field(changed, 'changeSecret')).toMatchObject({
      agents: [AGENT, 'second'],
      purpose: 'less',
      version: 1,
    });
    const any = await api.ask(admin, CHANGE, { name: 'shared', anyAgent: true });
    expect(field(any, 'changeSecret')).toMatchObject({ agents: null, tools: null });
    const both = await api.ask(admin, CHANGE, { name: 'shared', agents: [AGENT], anyAgent: true });
    expect(code(both)).toBe('BAD_USER_INPUT');
    expect(code(await api.ask(await api.key(ACME, 'operator'), CHANGE, { name: 'shared' }))).toBe(
      'FORBIDDEN',
    );
  });

  it('attack: foreign and random names and ids get one and the same answer and change nothing', async () => {
    await create(globex, 'theirs');
    const theirs = field<{ id: string }>(
      await api.ask(globex, REVOKE, { scope: 'agent', target: AGENT }),
      'revokeSecrets',
    );
    for (const asked of [
      ['theirs', 'nobody', "' OR 1=1"].map((name) => api.ask(admin, ROTATE, { name, value: VALUE })),
      ['theirs', 'nobody', "' OR 1=1"].map((name) => api.ask(admin, CHANGE, { name })),
      ['theirs', 'nobody'].map((secret) => api.ask(admin, REVOKE, { scope: 'secret', secret })),
      [theirs.id, `acme.revocation.${RANDOM}`, `globex.revocation.${RANDOM}`, 'x'].map((id) =>
        api.ask(admin, LIFT, { id }),
      ),
    ]) {
      const answers = await Promise.all(asked);
      expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
      expect(code(answers[0]!)).toBe('NOT_FOUND');
    }
    expect(field(await api.ask(globex, LIST), 'secrets')).toMatchObject([{ version: 1, state: 'active' }]);
  });

  it('only admins write, admins and operators revoke, and viewers see nothing of it', async () => {
    const may = async (role: 'operator' | 'auditor' | 'viewer'): Promise<(string | undefined)[]> => {
      const key = await api.key(ACME, role);
      return [
        code(await create(key, `by-${role}`)),
        code(await api.ask(key, REVOKE, { scope: 'tenant', dryRun: true })),
        code(await api.ask(key, LIST)),
      ];
    };
    expect(await may('operator')).toEqual(['FORBIDDEN', undefined, undefined]);
    expect(await may('auditor')).toEqual(['FORBIDDEN', 'FORBIDDEN', undefined]);
    expect(await may('viewer')).toEqual(['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN']);
  });
});
