import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { personId } from '@bulkhead/tenancy/admin';
import { createOperatorKey } from '@bulkhead/tenancy/control';
import { ACME, field, GLOBEX, startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { startIssuer } from '../support/issuer.js';
import type { TestIssuer } from '../support/issuer.js';

const INVITE =
  'mutation ($input: InviteMemberInput!) { inviteMember(input: $input) { token invitation { id role workspaceId email } } }';
const ACCEPT = 'mutation ($token: String!) { acceptInvitation(token: $token) { tenantId role workspaceId } }';
const WITHDRAW = 'mutation ($id: ID!) { revokeInvitation(id: $id) { id } }';
const CHANGE = 'mutation ($input: ChangeRoleInput!) { changeRole(input: $input) { id role workspaceId } }';
const REMOVE = 'mutation ($id: ID!) { removeMember(memberId: $id) { member { id } keysRevoked } }';
const MEMBERS = '{ members(first: 100) { nodes { id role workspaceId } } }';
const ME = '{ me { role workspaceId tenant { id } permissions } }';
const KEY = 'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { key apiKey { prefix } } }';

describe('members', () => {
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
  const idOf = (subject: string): string => personId(issuer.config.issuer, subject);
  const invite = async (
    input: Record<string, unknown>,
    as = admin,
  ): Promise<{ token: string; invitation: { id: string } }> =>
    field(await api.ask(as, INVITE, { input }), 'inviteMember');
  const accept = async (subject: string, token: string, claims = {}): Promise<Answer> =>
    api.ask(await issuer.token(subject, claims), ACCEPT, { token });
  /** Makes a member and returns their token. */
  const member = async (subject: string, input: Record<string, unknown>): Promise<string> => {
    const { token } = await invite(input);
    field(await accept(subject, token), 'acceptInvitation');
    return issuer.token(subject);
  };
  const journal = (change: string): Promise<Record<string, unknown>[]> =>
    api.database
      .asOwner<{ body: Record<string, unknown> }>(
        "SELECT body FROM journal_records WHERE tenant_id = 'acme' AND kind = 'control' AND body->>'change' = $1 ORDER BY id",
        [change],
      )
      .then((rows) => rows.map((row) => row.body));

  it('join by an invitation, which works once and is stored as a hash', async () => {
    const { token, invitation } = await invite({ role: 'operator' });
    expect(await accept('ann', token)).toMatchObject({
      data: { acceptInvitation: { tenantId: 'acme', role: 'operator', workspaceId: null } },
    });
    expect(field(await api.ask(await issuer.token('ann'), ME), 'me')).toMatchObject({ role: 'operator' });
    expect(code(await accept('bob', token))).toBe('NOT_FOUND');
    const rows = JSON.stringify(await api.database.asOwner('SELECT * FROM invitations'));
    expect(rows).not.toContain(token.slice(-43));
    expect(api.logs.join('')).not.toContain(token.slice(-43));
    expect((await journal('member_invited')).at(-1)).toMatchObject({ by: `key:${admin.slice(4, 12)}` });
    expect((await journal('member_joined')).at(-1)).toMatchObject({
      by: `user:${idOf('ann')}`,
      invitation: invitation.id,
      invitedBy: `key:${admin.slice(4, 12)}`,
      after: { role: 'operator', workspaceId: null },
    });
  });

  it('attack: invitations that are guessed, used, expired, withdrawn, renamed to another tenant, or for another address', async () => {
    const guess = await accept('eve', `bhi_acme_${'A'.repeat(43)}`);
    expect(code(guess)).toBe('NOT_FOUND');
    const expired = await invite({ role: 'admin' });
    await api.database.asOwner("UPDATE invitations SET expires_at = now() - interval '1 s' WHERE id = $1", [
      expired.invitation.id,
    ]);
    const withdrawn = await invite({ role: 'admin' });
    field(await api.ask(admin, WITHDRAW, { id: withdrawn.invitation.id }), 'revokeInvitation');
    const used = await invite({ role: 'viewer' });
    await accept('first', used.token);
    const open = await invite({ role: 'admin' });
    const bound = await invite({ role: 'admin', email: 'Ann@Example.org' });
    for (const token of [
      'x',
      `bhi_hooli_${'A'.repeat(43)}`,
      expired.token,
      withdrawn.token,
      used.token,
      open.token.replace('bhi_acme_', 'bhi_globex_'),
      `${open.token.slice(0, -1)}${open.token.endsWith('A') ? 'B' : 'A'}`,
      bound.token,
    ]) {
      expect(await accept('eve', token), token).toEqual(guess);
    }
    await api.database.asOwner("UPDATE tenants SET status = 'suspended' WHERE id = 'acme'");
    expect(await accept('eve', open.token)).toEqual(guess);
    await api.database.asOwner("UPDATE tenants SET status = 'active' WHERE id = 'acme'");
    // an address that the issuer has not verified is anybody's word
    expect(await accept('eve', bound.token, { email: 'ann@example.org' })).toEqual(guess);
    expect(await accept('eve', bound.token, { email: 'ann@example.org', email_verified: 'true' })).toEqual(
      guess,
    );
    expect(await accept('eve', bound.token, { email: 'eve@example.org', email_verified: true })).toEqual(
      guess,
    );
    expect(
      code(await accept('zoe', bound.token, { email: 'ann@example.ORG', email_verified: true })),
    ).toBeUndefined();
    const known = field<{ nodes: { id: string }[] }>(await api.ask(admin, MEMBERS), 'members').nodes;
    expect(known.map((row) => row.id)).not.toContain(idOf('eve'));
  });

  it('attack: a document goes on after what it revoked itself with, and gives what its caller has no more', async () => {
    const key = await api.key(ACME, 'admin');
    const answer = await api.ask(
      key,
      `mutation ($prefix: ID!) {
        revokeApiKey(prefix: $prefix) { prefix }
        inviteMember(input: { role: "admin" }) { token }
      }`,
      { prefix: key.slice(4, 12) },
    );
    expect(code(answer)).toBe('UNAUTHENTICATED');
    const open = await api.database.asOwner('SELECT id FROM invitations WHERE created_by = $1', [
      `key:${key.slice(4, 12)}`,
    ]);
    expect(open).toEqual([]);
  });

  it.each([
    ['removed', 'removed_at = now()'],
    ['lowered', "role = 'viewer'"],
  ])('attack: an admin who is %s while their requests wait gives nothing more', async (label, change) => {
    const boss = await member(`boss-${label}`, { role: 'admin' });
    const theirs = field<{ key: string }>(
      await api.ask(boss, KEY, { input: { name: 'a key', role: 'admin' } }),
      'createApiKey',
    ).key;
    await member(`mate-${label}`, { role: 'viewer' });
    const id = idOf(`boss-${label}`);
    const mate = { memberId: idOf(`mate-${label}`), role: 'admin' };
    const owner = new pg.Client({ connectionString: api.database.ownerUrl });
    await owner.connect();
    try {
      await owner.query('BEGIN');
      await owner.query(`UPDATE members SET ${change} WHERE tenant_id = 'acme' AND id = $1`, [id]);
      const waiting = Promise.all(
        [boss, theirs].flatMap((as) => [
          api.ask(as, INVITE, { input: { role: 'admin' } }),
          api.ask(as, KEY, { input: { name: 'one more', role: 'admin' } }),
          api.ask(as, CHANGE, { input: mate }),
        ]),
      );
      await sleep(300); // they were let in, and wait for what is changed here
      await owner.query('COMMIT');
      expect((await waiting).map(code)).toEqual(Array.from({ length: 6 }, () => 'UNAUTHENTICATED'));
    } finally {
      await owner.end();
    }
  });

  it('attack: a key that ends soon gives an invitation that stays', async () => {
    const ends = new Date(Date.now() + 600_000).toISOString();
    const input = { name: 'soon over', role: 'admin', expiresAt: ends };
    const { key } = field<{ key: string }>(await api.ask(admin, KEY, { input }), 'createApiKey');
    const { invitation } = await invite({ role: 'admin', expiresInHours: 720 }, key);
    const [row] = await api.database.asOwner<{ ends: Date }>(
      'SELECT expires_at AS ends FROM invitations WHERE id = $1',
      [invitation.id],
    );
    expect(row?.ends.toISOString()).toBe(ends);
  });

  it('attack: many people use one invitation at the same moment', async () => {
    for (let round = 0; round < 10; round += 1) {
      const { token } = await invite({ role: 'viewer' });
      const crowd = await Promise.all(
        Array.from({ length: 6 }, (_, n) => issuer.token(`crowd-${round}-${n}`)),
      );
      const answers = await Promise.all(crowd.map((person) => api.ask(person, ACCEPT, { token })));
      expect(
        answers.filter((answer) => answer.errors === undefined),
        `round ${round}`,
      ).toHaveLength(1);
    }
  });

  it('attack: a key, or an operator of the platform, that accepts an invitation', async () => {
    const { token } = await invite({ role: 'viewer' });
    const operator = await createOperatorKey(api.deps.control, { name: 'op', createdBy: 'test' });
    for (const proof of [admin, operator.key]) {
      expect(code(await api.ask(proof, ACCEPT, { token }))).toBe('FORBIDDEN');
    }
    const again = await accept('ann', token);
    expect(code(again)).toBe('INVALID_STATE');
    expect(code(await accept('later', token))).toBeUndefined();
  });

  it('belong to several tenants with a role in each', async () => {
    const globex = await api.key(GLOBEX, 'admin');
    const { token } = await invite({ role: 'auditor' }, globex);
    field(await accept('ann', token), 'acceptInvitation');
    const ann = await issuer.token('ann');
    const role = async (tenant: string): Promise<unknown> =>
      field<{ role: string }>(await api.ask(ann, ME, {}, tenant), 'me').role;
    expect([await role('acme'), await role('globex')]).toEqual(['operator', 'auditor']);
  });

  it('get another role at once, for their keys too, and lose the invitations that they gave', async () => {
    const amy = await member('amy', { role: 'admin' });
    const { key } = field<{ key: string }>(
      await api.ask(amy, KEY, { input: { name: 'mine', role: 'admin' } }),
      'createApiKey',
    );
    const given = await invite({ role: 'admin' }, key);
    expect(code(await api.ask(key, MEMBERS))).toBeUndefined();
    const changed = await api.ask(admin, CHANGE, { input: { memberId: idOf('amy'), role: 'viewer' } });
    expect(changed.data?.changeRole).toMatchObject({ role: 'viewer' });
    for (const proof of [amy, key]) {
      expect(code(await api.ask(proof, MEMBERS))).toBe('FORBIDDEN');
      expect(field(await api.ask(proof, ME), 'me')).toMatchObject({ role: 'viewer' });
    }
    expect(code(await accept('friend', given.token))).toBe('NOT_FOUND');
    expect((await journal('role_changed')).at(-1)).toMatchObject({
      by: `key:${admin.slice(4, 12)}`,
      member: idOf('amy'),
      before: { role: 'admin', workspaceId: null },
      after: { role: 'viewer', workspaceId: null },
    });
  });

  it('who are removed are out at once, with their keys, their browser and the invitations that they gave', async () => {
    const max = await member('max', { role: 'admin' });
    const { key } = field<{ key: string }>(
      await api.ask(max, KEY, { input: { name: 'mine', role: 'operator' } }),
      'createApiKey',
    );
    const given = await invite({ role: 'admin' }, max);
    const removed = await api.ask(admin, REMOVE, { id: idOf('max') });
    expect(removed.data?.removeMember).toEqual({ member: { id: idOf('max') }, keysRevoked: 1 });
    expect(code(await api.ask(max, MEMBERS))).toBe('FORBIDDEN');
    expect(code(await api.ask(key, ME))).toBe('UNAUTHENTICATED');
    expect(code(await accept('max', given.token))).toBe('NOT_FOUND');
    expect(code(await api.ask(admin, REMOVE, { id: idOf('max') }))).toBe('NOT_FOUND');
    expect((await journal('member_removed')).at(-1)).toMatchObject({ member: idOf('max') });
    // a new invitation brings the person back, and none of their old keys
    await member('max', { role: 'viewer' });
    expect(code(await api.ask(key, ME))).toBe('UNAUTHENTICATED');
    expect(field(await api.ask(max, ME), 'me')).toMatchObject({ role: 'viewer' });
  });

  it('always have an admin: the last one cannot be removed or lowered, also not by two at one moment', async () => {
    await api.database.asOwner(
      "UPDATE members SET removed_at = now() WHERE tenant_id = 'acme' AND role = 'admin'",
    );
    const kim = await member('kim', { role: 'admin' });
    await member('part', { role: 'admin', workspaceId: 'blue' });
    for (const answer of [
      await api.ask(kim, REMOVE, { id: idOf('kim') }),
      await api.ask(admin, REMOVE, { id: idOf('kim') }),
      await api.ask(admin, CHANGE, { input: { memberId: idOf('kim'), role: 'operator' } }),
      await api.ask(admin, CHANGE, { input: { memberId: idOf('kim'), role: 'admin', workspaceId: 'blue' } }),
    ]) {
      expect(code(answer)).toBe('INVALID_STATE');
    }
    for (let round = 0; round < 5; round += 1) {
      const lee = await member(`lee-${round}`, { role: 'admin' });
      const answers = await Promise.all([
        api.ask(kim, REMOVE, { id: idOf(`lee-${round}`) }),
        api.ask(lee, CHANGE, { input: { memberId: idOf('kim'), role: 'viewer' } }),
      ]);
      expect(
        answers.filter((answer) => answer.errors === undefined),
        `round ${round}`,
      ).toHaveLength(1);
      await api.database.asOwner("UPDATE members SET role = 'admin' WHERE tenant_id = 'acme' AND id = $1", [
        idOf('kim'),
      ]);
      await api.database.asOwner(
        "UPDATE members SET removed_at = now() WHERE tenant_id = 'acme' AND id = $1",
        [idOf(`lee-${round}`)],
      );
    }
  });

  it('of one workspace manage that workspace and give nothing beyond it', async () => {
    const bea = await member('bea', { role: 'admin', workspaceId: 'blue' });
    await member('out', { role: 'viewer' });
    await member('in', { role: 'viewer', workspaceId: 'blue' });
    const seen = field<{ nodes: { workspaceId: string }[] }>(await api.ask(bea, MEMBERS), 'members').nodes;
    expect(new Set(seen.map((row) => row.workspaceId))).toEqual(new Set(['blue']));
    for (const input of [
      { role: 'viewer' },
      { role: 'viewer', workspaceId: 'main' },
      { role: 'viewer', workspaceId: 'none' },
    ]) {
      expect(code(await api.ask(bea, INVITE, { input })), JSON.stringify(input)).toBe('FORBIDDEN');
    }
    await invite({ role: 'operator', workspaceId: 'blue' }, bea);
    const change = (memberId: string, more: object): Promise<Answer> =>
      api.ask(bea, CHANGE, { input: { memberId, role: 'operator', ...more } });
    const foreign = await change(idOf('out'), {});
    expect(code(foreign)).toBe('NOT_FOUND');
    expect(await change('0'.repeat(26), {})).toEqual(foreign);
    expect(code(await change(idOf('in'), { workspaceId: null }))).toBe('FORBIDDEN');
    expect(code(await change(idOf('in'), {}))).toBeUndefined();
    expect(code(await api.ask(bea, REMOVE, { id: idOf('out') }))).toBe('NOT_FOUND');
    expect(field<{ id: string }[]>(await api.ask(bea, '{ workspaces { id } }'), 'workspaces')).toEqual([
      { id: 'blue' },
    ]);
    const other = await invite({ role: 'viewer' });
    expect(code(await api.ask(bea, WITHDRAW, { id: other.invitation.id }))).toBe('NOT_FOUND');
  });

  it('of another tenant look like nobody: change, removal and invitations', async () => {
    const globex = await api.key(GLOBEX, 'admin');
    const { invitation } = await invite({ role: 'viewer' });
    const before = field(await api.ask(admin, MEMBERS), 'members');
    const change = (memberId: string): Promise<Answer> =>
      api.ask(globex, CHANGE, { input: { memberId, role: 'viewer' } });
    expect(await change(idOf('kim'))).toEqual(await change('0'.repeat(26)));
    const remove = (id: string): Promise<Answer> => api.ask(globex, REMOVE, { id });
    expect(code(await remove(idOf('kim')))).toBe('NOT_FOUND');
    expect(await remove(idOf('kim'))).toEqual(await remove('0'.repeat(26)));
    const withdraw = (id: string): Promise<Answer> => api.ask(globex, WITHDRAW, { id });
    expect(await withdraw(invitation.id)).toEqual(
      await withdraw('globex.invitation.01kb3v6r2e8m4q7x9z0a1b2c3d'),
    );
    expect(field(await api.ask(admin, MEMBERS), 'members')).toEqual(before);
  });

  it('name workspaces in their own tenant only, and two tenants may use one name', async () => {
    const globex = await api.key(GLOBEX, 'admin');
    const create = (key: string, id: string): Promise<Answer> =>
      api.ask(
        key,
        'mutation ($input: CreateWorkspaceInput!) { createWorkspace(input: $input) { id name } }',
        { input: { id, name: 'Ours' } },
      );
    expect(code(await create(globex, 'blue'))).toBeUndefined();
    expect(code(await create(globex, 'blue'))).toBe('INVALID_STATE');
    expect(code(await create(await api.key(ACME, 'operator'), 'green'))).toBe('FORBIDDEN');
    const [row] = await api.database.asOwner(
      "SELECT name FROM workspaces WHERE tenant_id = 'acme' AND id = 'blue'",
    );
    expect(row).toEqual({ name: 'Blue' });
    expect((await journal('workspace_created')).at(-1)).toMatchObject({ workspace: 'blue' });
    const input = { role: 'viewer', workspaceId: 'none' };
    expect(code(await api.ask(admin, INVITE, { input }))).toBe('NOT_FOUND');
  });
});
