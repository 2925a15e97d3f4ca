import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildApprovalId } from '@bulkhead/contract';
import { PURPOSES } from '@bulkhead/runtime/keys';
import { personId } from '@bulkhead/tenancy/admin';
import { ACME, AGENT, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { startIssuer } from '../support/issuer.js';
import type { TestIssuer } from '../support/issuer.js';

const CREATE =
  'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { key apiKey { prefix role permissions workspaceId createdBy expiresAt } } }';
const REVOKE =
  'mutation ($prefix: ID!, $all: Boolean) { revokeApiKey(prefix: $prefix, withItsKeys: $all) { prefix revokedAt } }';
const LIST =
  '{ apiKeys(first: 100) { nodes { prefix name role createdBy revokedAt lastUsedAt } endCursor } }';
const ME = '{ me { actor role workspaceId permissions } }';

interface Made {
  readonly key: string;
  readonly apiKey: { readonly prefix: string };
}

describe('API keys', () => {
  let issuer: TestIssuer;
  let api: TestApi;
  let admin: string;

  beforeAll(async () => {
    issuer = await startIssuer();
    api = await startApi({ issuers: [issuer.config] });
    admin = await api.key(ACME, 'admin');
    await api.ask(admin, 'mutation { createWorkspace(input: { id: "blue", name: "Blue" }) { id } }');
  });
  afterAll(async () => {
    await api?.close();
    await issuer?.close();
  });

  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;
  const create = (as: string, input: Record<string, unknown>): Promise<Answer> =>
    api.ask(as, CREATE, { input: { name: 'a key', ...input } });
  const made = async (as: string, input: Record<string, unknown>): Promise<Made> =>
    field<Made>(await create(as, input), 'createApiKey');
  const me = async (
    key: string,
  ): Promise<{ role: string; permissions: string[]; workspaceId: string | null }> =>
    field(await api.ask(key, ME), 'me');
  const join = async (subject: string, role: string, workspaceId: string | null = null): Promise<string> => {
    await api.database.asOwner(
      `INSERT INTO members (tenant_id, id, issuer, subject, role, workspace_id, created_by)
       VALUES ('acme', $1, $2, $3, $4, $5, 'test')`,
      [personId(issuer.config.issuer, subject), issuer.config.issuer, subject, role, workspaceId],
    );
    return issuer.token(subject);
  };
  const inAnHour = (): string => new Date(Date.now() + 3_600_000).toISOString();

  it('attack: what a key may not read, it does not read through what a mutation answers', async () => {
    const start = `mutation { startRun(input: { agentId: "${AGENT}", idempotencyKey: "seen", input: { ticketId: "T-1" } }) { id } }`;
    const { id } = field<{ id: string }>(await api.ask(admin, start), 'startRun');
    const permissions = ['run:cancel', 'run:start', 'approval:decide'];
    const { key } = await made(admin, { role: 'admin', permissions });
    const cancel = (fields: string): Promise<Answer> =>
      api.ask(key, `mutation ($id: ID!) { cancelRun(id: $id, reason: "x") { ${fields} } }`, { id });
    for (const shown of ['input', 'result', 'journal { body }', 'requests { reason }']) {
      const answer = await cancel(shown);
      expect(code(answer), shown).toBe('FORBIDDEN');
      expect(JSON.stringify(answer.data), shown).not.toMatch(/T-1|body|reason/);
    }
    expect(code(await cancel('id state'))).toBeUndefined();
    expect(field(await api.ask(key, start), 'startRun')).toEqual({ id });
    expect(code(await api.ask(key, start.replace('{ id }', '{ journal { body } }')))).toBe('FORBIDDEN');
    const unseen = `mutation { approve(id: "${buildApprovalId(ACME, '01kb3v6r2e8m4q7x9z0a1b2c3d')}") { arguments } }`;
    expect(code(await api.ask(key, unseen))).toBe('FORBIDDEN');
  });

  it('are shown once, stored as a hash, journalled, and say who made them', async () => {
    const { key, apiKey } = await made(admin, { role: 'viewer', expiresAt: inAnHour() });
    expect(key).toMatch(/^bhk_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}$/);
    expect(await me(key)).toMatchObject({ actor: `key:${apiKey.prefix}`, role: 'viewer' });
    const stored = JSON.stringify(
      await api.database.asOwner("SELECT k.*, encode(hash, 'escape') AS text FROM api_keys k"),
    );
    expect(stored).not.toContain(key.slice(13));
    expect(api.logs.join('')).not.toContain(key.slice(13));
    const records = await api.database.asOwner<{ body: object }>(
      "SELECT body FROM journal_records WHERE body->>'change' = 'key_created' AND body->>'prefix' = $1",
      [apiKey.prefix],
    );
    expect(records).toMatchObject([
      { body: { by: `key:${admin.slice(4, 12)}`, after: { role: 'viewer', permissions: null } } },
    ]);
    expect(JSON.stringify(records)).not.toContain(key.slice(13));
  });

  it('end at their time, and at once when they are revoked', async () => {
    const { key, apiKey } = await made(admin, { role: 'viewer', expiresAt: inAnHour() });
    await api.database.asOwner("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE prefix = $1", [
      apiKey.prefix,
    ]);
    expect(code(await api.ask(key, ME))).toBe('UNAUTHENTICATED');
    const other = await made(admin, { role: 'viewer' });
    const revoked = await api.ask(admin, REVOKE, { prefix: other.apiKey.prefix });
    expect(revoked.data?.revokeApiKey).toMatchObject([
      { prefix: other.apiKey.prefix, revokedAt: expect.any(String) },
    ]);
    expect(code(await api.ask(other.key, ME))).toBe('UNAUTHENTICATED');
    expect(code(await api.ask(admin, REVOKE, { prefix: other.apiKey.prefix }))).toBe('NOT_FOUND');
    for (const expiresAt of ['2020-01-01T00:00:00Z', '2999-01-01T00:00:00Z']) {
      expect(code(await create(admin, { role: 'viewer', expiresAt }))).toBe('BAD_USER_INPUT');
    }
  });

  it('note their last use, once a minute and not for each call', async () => {
    const { key, apiKey } = await made(admin, { role: 'viewer' });
    const used = async (): Promise<string | null> => {
      const { nodes } = field<{ nodes: { prefix: string; lastUsedAt: string | null }[] }>(
        await api.ask(admin, LIST),
        'apiKeys',
      );
      return nodes.find((node) => node.prefix === apiKey.prefix)?.lastUsedAt ?? null;
    };
    expect(await used()).toBeNull();
    await api.ask(key, ME);
    const first = await used();
    expect(Date.parse(first ?? '')).toBeGreaterThan(Date.now() - 10_000);
    for (let call = 0; call < 5; call += 1) await api.ask(key, ME);
    expect(await used()).toBe(first);
    await api.database.asOwner(
      "UPDATE api_keys SET last_used_at = now() - interval '2 min' WHERE prefix = $1",
      [apiKey.prefix],
    );
    await api.ask(key, ME);
    expect(Date.parse((await used()) ?? '')).toBeGreaterThan(Date.now() - 10_000);
  });

  it('may have less than their role', async () => {
    const { key } = await made(admin, { role: 'operator', permissions: ['run:read', 'run:start'] });
    expect((await me(key)).permissions).toEqual(['run:read', 'run:start']);
    expect(code(await api.ask(key, '{ agents { id } }'))).toBe('FORBIDDEN');
    expect(code(await api.ask(key, '{ runs { nodes { id } } }'))).toBeUndefined();
  });

  it('attack: a key that makes a stronger, longer or wider one', async () => {
    const operator = await made(admin, { role: 'operator' });
    const narrow = await made(admin, { role: 'admin', permissions: ['key:create', 'run:read'] });
    const short = await made(admin, { role: 'admin', expiresAt: inAnHour() });
    const blue = await made(admin, { role: 'admin', workspaceId: 'blue' });
    const later = new Date(Date.now() + 2 * 3_600_000).toISOString();
    for (const [as, input] of [
      [operator, { role: 'admin' }],
      [operator, { role: 'admin', permissions: ['approval:decide'] }],
      [operator, { role: 'auditor' }],
      [operator, { role: 'viewer', permissions: ['run:start'] }],
      [narrow, { role: 'admin' }],
      [narrow, { role: 'admin', permissions: ['run:read', 'run:start'] }],
      [narrow, { role: 'viewer' }],
      [short, { role: 'viewer' }],
      [short, { role: 'viewer', expiresAt: later }],
      [blue, { role: 'viewer' }],
      [blue, { role: 'viewer', workspaceId: 'main' }],
      [blue, { role: 'operator', workspaceId: 'blue', permissions: ['ui:sign-in'] }],
    ] as const) {
      expect(code(await create(as.key, input)), JSON.stringify(input)).toBe('FORBIDDEN');
    }
    expect(
      (await me((await made(narrow.key, { role: 'admin', permissions: ['run:read'] })).key)).permissions,
    ).toEqual(['run:read']);
    expect((await me((await made(operator.key, { role: 'operator' })).key)).role).toBe('operator');
    expect(await me((await made(blue.key, { role: 'operator', workspaceId: 'blue' })).key)).toMatchObject({
      workspaceId: 'blue',
    });
    await made(short.key, { role: 'viewer', expiresAt: new Date(Date.now() + 60_000).toISOString() });
    for (const input of [{ role: 'platform' }, { role: 'Admin' }, { role: 'viewer', permissions: ['all'] }]) {
      expect(code(await create(admin, input)), JSON.stringify(input)).toBe('BAD_USER_INPUT');
    }
  });

  it('of a person never have more than the person has now', async () => {
    const ada = await join('ada', 'admin');
    const { key } = await made(ada, { role: 'admin' });
    const set = (sql: string): Promise<unknown> =>
      api.database.asOwner(`UPDATE members SET ${sql} WHERE id = $1`, [
        personId(issuer.config.issuer, 'ada'),
      ]);
    await set("role = 'operator'");
    expect(await me(key)).toMatchObject({ role: 'operator' });
    expect((await me(key)).permissions).not.toContain('member:read');
    await set("role = 'admin', workspace_id = 'blue'");
    expect(await me(key)).toMatchObject({ role: 'admin', workspaceId: 'blue' });
    expect((await me(key)).permissions).not.toContain('audit:read');
    await set('workspace_id = NULL, removed_at = now()');
    expect(code(await api.ask(key, ME))).toBe('UNAUTHENTICATED');
  });

  it('that leaked can be ended with every key that was made with them', async () => {
    const leaked = await made(admin, { role: 'admin' });
    const child = await made(leaked.key, { role: 'admin' });
    const grandchild = await made(child.key, { role: 'viewer' });
    const answer = await api.ask(admin, REVOKE, { prefix: leaked.apiKey.prefix, all: true });
    expect(field<unknown[]>(answer, 'revokeApiKey')).toHaveLength(3);
    for (const { key } of [leaked, child, grandchild]) {
      expect(code(await api.ask(key, ME))).toBe('UNAUTHENTICATED');
    }
    expect(code(await api.ask(admin, ME))).toBeUndefined();
  });

  it('are listed and ended by who may see all; others see and end their own', async () => {
    const oscar = await join('oscar', 'operator');
    const own = await made(oscar, { role: 'operator' });
    const fromOwn = await made(own.key, { role: 'viewer' });
    const other = await made(admin, { role: 'viewer' });
    const seen = field<{ nodes: { prefix: string }[] }>(await api.ask(oscar, LIST), 'apiKeys').nodes;
    expect(seen.map((node) => node.prefix).toSorted()).toEqual(
      [own.apiKey.prefix, fromOwn.apiKey.prefix].toSorted(),
    );
    const refused = await api.ask(oscar, REVOKE, { prefix: other.apiKey.prefix });
    expect(code(refused)).toBe('NOT_FOUND');
    expect(await api.ask(oscar, REVOKE, { prefix: 'nobodyhe' })).toEqual(refused);
    expect(code(await api.ask(oscar, REVOKE, { prefix: own.apiKey.prefix }))).toBeUndefined();
    expect(code(await api.ask(await api.key(ACME, 'viewer'), LIST))).toBe('FORBIDDEN');
    expect(code(await api.ask(await api.key(ACME, 'auditor'), LIST))).toBeUndefined();
  });

  it('of another tenant look like none', async () => {
    const globex = await api.key(GLOBEX, 'admin');
    const { key, apiKey } = await made(admin, { role: 'viewer' });
    const foreign = await api.ask(globex, REVOKE, { prefix: apiKey.prefix, all: true });
    expect(code(foreign)).toBe('NOT_FOUND');
    expect(await api.ask(globex, REVOKE, { prefix: 'nobodyhe', all: true })).toEqual(foreign);
    expect(code(await api.ask(key, ME))).toBeUndefined();
    expect(JSON.stringify(await api.ask(globex, LIST))).not.toContain(apiKey.prefix);
  });

  it('attack: a person approves their own call: with a second key, in person, or with a key of their key', async () => {
    const rita = await join('rita', 'admin');
    const sam = await join('sam', 'admin');
    const first = await made(rita, { role: 'admin' });
    const second = await made(rita, { role: 'admin' });
    const third = await made(first.key, { role: 'admin' });
    const cleverKey = await made(admin, { role: 'admin' });
    const started = await api.ask(
      first.key,
      'mutation ($input: StartRunInput!) { startRun(input: $input) { id actor } }',
      { input: { agentId: AGENT, idempotencyKey: 'r', input: { ticketId: 'T-1' } } },
    );
    const run = field<{ id: string; actor: string }>(started, 'startRun');
    let last = 0;
    const pending = async (requestedBy: string): Promise<string> => {
      last += 1;
      const id = buildApprovalId(ACME, `01kb3v6r2e8m4q7x9z0a1b${String(last).padStart(4, '0')}`);
      const facts = Buffer.from(JSON.stringify({ facts: { args: {} } }));
      await api.database.asOwner(
        `INSERT INTO approvals (tenant_id, id, run_id, key, digest, tool_id, tool_version, target, rule, approvers, request, requested_by, expires_at)
         VALUES ('acme', $1, $2, $1, '\\x00', 'a.b', 1, 't', 'r', '{admin}', $3, $4, now() + interval '1 hour')`,
        [id, run.id, await api.keyRing.seal(ACME, PURPOSES.effectRequest, facts), requestedBy],
      );
      return id;
    };
    const approve = async (as: string, id: string): Promise<string | undefined> =>
      code(await api.ask(as, 'mutation ($id: ID!) { approve(id: $id) { state } }', { id }));

    const id = await pending(run.actor);
    for (const as of [first.key, second.key, third.key, rita])
      expect(await approve(as, id)).toBe('FORBIDDEN');
    const inPerson = await pending(`user:${personId(issuer.config.issuer, 'rita')}`);
    expect(await approve(second.key, inPerson)).toBe('FORBIDDEN');
    const ofChain = await pending(`key:${admin.slice(4, 12)}`);
    expect(await approve(cleverKey.key, ofChain)).toBe('FORBIDDEN');
    for (const waiting of [id, inPerson, ofChain]) expect(await approve(sam, waiting)).toBeUndefined();
  });
});
