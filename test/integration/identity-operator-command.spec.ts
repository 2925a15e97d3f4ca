import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApi } from '../support/api.js';
import type { Answer, TestApi } from '../support/api.js';
import { commandOver } from '../support/api-command.js';
import type { Ran } from '../support/api-command.js';

const ME = '{ me { role } }';

describe('npm run operator', () => {
  let api: TestApi;
  let command: Awaited<ReturnType<typeof commandOver>>;

  beforeAll(async () => {
    api = await startApi();
    command = await commandOver(api, 'operator');
  });
  afterAll(async () => {
    await command?.close();
    await api?.close();
  });

  const run = (...args: string[]): Promise<Ran> => command.run(...args);
  const code = (answer: Answer): string | undefined => answer.errors?.[0]?.extensions.code;

  it('makes, lists and ends operators of the platform', async () => {
    const made = await run('key', '--name', 'on call', '--days', '90', '--json');
    expect(made.stderr).toBe('');
    const [{ operator, operatorKey }] = JSON.parse(made.stdout) as [
      { operator: string; operatorKey: string },
    ];
    expect((await api.ask(operatorKey, ME)).data).toEqual({ me: { role: 'platform' } });
    const listed = await run('list');
    expect(listed.stdout).toMatch(
      new RegExp(`^id ${operator}  name on call  kind key  createdBy command:\\w+`),
    );
    expect(listed.stdout).not.toContain(operatorKey.slice(13));
    expect((await run('revoke', operator)).code).toBe(0);
    expect(code(await api.ask(operatorKey, ME))).toBe('UNAUTHENTICATED');
  });

  it('journals who was made and ended and by whom, and no role of a process can change that', async () => {
    const [{ operator }] = JSON.parse((await run('key', '--name', 'noted', '--json')).stdout) as [
      { operator: string },
    ];
    await run('revoke', operator);
    // whoever writes the row without the command is noted too
    await api.deps.control.query(
      "INSERT INTO platform_operators (id, hash, name, created_by) VALUES ('AAAAAAAA', '\\x01', 'by hand', 'nobody')",
      [],
    );
    const journal = async (): Promise<Record<string, unknown>[]> =>
      JSON.parse((await run('journal', '--json')).stdout) as Record<string, unknown>[];
    const by = expect.stringMatching(/^command:\w+$/);
    expect((await journal()).slice(-3)).toMatchObject([
      { change: 'operator_created', operator, name: 'noted', by, intact: true },
      { change: 'operator_revoked', operator, by, intact: true },
      { change: 'operator_created', operator: 'AAAAAAAA', by: 'nobody', intact: true },
    ]);
    expect((await run('journal')).stdout).not.toContain('intact false');
    for (const change of [
      "UPDATE platform_journal SET body = '{}'",
      'DELETE FROM platform_journal',
      'TRUNCATE platform_journal',
      "INSERT INTO platform_journal (seq, body, prev_hash, hash) VALUES (99, '{}', '', '')",
    ])
      await expect(api.deps.control.query(change, [])).rejects.toMatchObject({ code: '42501' });
    await api.database.asOwner(
      `UPDATE platform_journal SET body = body || '{"by": "x"}' WHERE body->>'operator' = $1 AND body->>'change' = 'operator_created'`,
      [operator],
    );
    expect((await journal()).slice(-3)).toMatchObject([
      { intact: false },
      { intact: true },
      { intact: true },
    ]);
    await api.database.asOwner("DELETE FROM platform_journal WHERE body->>'change' = 'operator_revoked'");
    expect((await journal()).at(-1)).toMatchObject({ operator: 'AAAAAAAA', intact: false });
    // whoever took a record out and joins its neighbours: what the later one says of the earlier one is in its hash
    await api.database.asOwner(`UPDATE platform_journal p SET prev_hash =
      (SELECT q.hash FROM platform_journal q WHERE q.seq < p.seq ORDER BY q.seq DESC LIMIT 1) WHERE p.body->>'operator' = 'AAAAAAAA'`);
    expect((await journal()).at(-1)).toMatchObject({ operator: 'AAAAAAAA', intact: false });
  });

  it.each([
    [['key'], 'give --name; see --help'],
    [['key', '--name', 'x', '--days', '0'], '--days must be 1 to 3650'],
    [['person', '--issuer', 'https://a.example', '--name', 'x'], 'give --subject; see --help'],
    [['revoke', 'nobody'], 'There is no such thing, or you may not see it.'],
    [['promote'], 'unknown command promote; see --help'],
  ])('says in one line what is wrong with %j', async (args, message) => {
    const { code: exit, stdout, stderr } = await run(...args);
    expect({ exit, stdout, stderr }).toEqual({ exit: 1, stdout: '', stderr: `${message}\n` });
  });

  it('makes no operator of a person who is a member of a tenant, and none twice', async () => {
    const person = [
      'person',
      '--issuer',
      'https://login.example',
      '--subject',
      'ann',
      '--name',
      'Ann',
      '--json',
    ];
    const first = await run(...person);
    const [{ operator }] = JSON.parse(first.stdout) as [{ operator: string }];
    expect((await run(...person)).stderr).toContain('is or was an operator already');
    await api.database.asOwner('DELETE FROM platform_operators WHERE id = $1', [operator]);
    await api.database.asOwner(
      "INSERT INTO members (tenant_id, id, issuer, subject, role, created_by) VALUES ('acme', $1, 'i', 's', 'viewer', 'test')",
      [operator],
    );
    expect((await run(...person)).stderr).toContain('is a member of a tenant');
  });
});
