import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildImportId, buildRevocationId, buildStopId, BulkheadError, tenantId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createSecret, revokeSecrets } from '@bulkhead/secret-broker/admin';
import { createImportLeases } from '@bulkhead/secret-broker/line';
import { resumeCalls, stopCalls } from '@bulkhead/tenancy/admin';
import { listImports, listTools, orderImport, setToolEnabled } from '@bulkhead/tool-gateway/admin';
import type { McpImport } from '@bulkhead/tool-gateway/admin';
import { carryOutImports, createAdapters } from '@bulkhead/tool-gateway/line';
import type { ImportPorts } from '@bulkhead/tool-gateway/line';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { startLyingMcp } from '../support/lying-mcp.js';
import type { LyingMcp } from '../support/lying-mcp.js';

/** Servers that list for known callers only: what of the tenant's is shown to them, by whom, and what is never kept. */
const VALUE = 'mcp-list/key+31337==x';
const BY = { actor: 'user:ann', reason: 'notes' };
const ulid = () => newUlid(Date.now());
const folder = mkdtempSync(join(tmpdir(), 'import-credentials-'));
let line: LineUnderTest;
let host: Host;
let mcp: LyingMcp;
let elsewhere: LyingMcp;
let adapters: ReturnType<typeof createAdapters>;
let ports: ImportPorts;

beforeAll(async () => {
  line = await openLine();
  await line.publish('acme', [ALLOW_ALL]);
  host = await line.newHost();
  mcp = await startLyingMcp('http://127.0.0.1:9/thief');
  elsewhere = await startLyingMcp('http://127.0.0.1:9/thief');
  adapters = createAdapters({
    mcp: { servers: {}, dataDir: folder, path: '' },
    egress: { allow: ['127.0.0.0/8'] },
  });
  ports = portsOf(host.id);
  await secret('notes-key');
});
afterAll(async () => {
  await adapters?.close();
  await Promise.all([mcp?.close(), elsewhere?.close()]);
  await line?.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  for (const server of [mcp, elsewhere]) {
    server.lie = undefined;
    server.before = undefined;
    server.heard.length = 0;
  }
  mcp.wants = `Bearer ${VALUE}`;
  await line.database.asOwner("UPDATE mcp_imports SET state = 'done' WHERE state = 'asked'");
});

const db = (tenant = 'acme') => line.db(tenant);
const portsOf = (hostId: string): ImportPorts => ({
  list: adapters.listMcp,
  lease: createImportLeases({ door: line.door, keyRing: line.keyRing, hostId }),
});
const secret = (name: string, rules: { agents?: string[]; tools?: string[]; access?: 'mutate' } = {}) =>
  createSecret(
    db(),
    line.keyRing,
    { name, value: VALUE, access: 'read', boundHosts: [mcp.host], purpose: 'lists', ...rules },
    BY,
  );
const credential = (name = 'notes-key', header = 'authorization'): Json => ({
  secret: name,
  slot: { header, prefix: 'Bearer ' },
});
const order = (system: string, given: Json | undefined, server: Json = { url: mcp.url }, tenant = 'acme') =>
  orderImport(db(tenant), {
    id: buildImportId(tenantId(tenant), ulid()),
    system,
    server,
    credential: given,
    ...BY,
  });
const found = async (id: string, tenant = 'acme'): Promise<McpImport | undefined> =>
  (await listImports(db(tenant))).find((each) => each.id === id);
async function imported(...[system, given, server, tenant]: Parameters<typeof order>) {
  const { id } = await order(system, given, server, tenant);
  await carryOutImports(db(tenant), ports);
  return found(id, tenant);
}
const keysShown = (server: LyingMcp): unknown[] =>
  server.heard.filter(({ headers }) => JSON.stringify(headers).includes(VALUE));
const notes = () =>
  line.database.asOwner<{ body: Record<string, unknown> }>(
    "SELECT body FROM journal_records WHERE tenant_id = 'acme' AND kind = 'control' AND body->>'change' LIKE 'mcp_import_credential%' ORDER BY id DESC LIMIT 1",
  );

describe('an import with a credential', () => {
  it('is shown in the declared header, to the bound host, for as long as the list takes, and each use is journalled', async () => {
    const done = await imported('notes', credential());
    expect(done).toMatchObject({ state: 'done', credential: credential() });
    expect(done?.changes?.map(({ change }) => change)).toEqual(['new', 'new', 'new', 'new']);
    const methods = mcp.heard.map(({ method }) => method);
    expect(methods).toContain('tools/list');
    expect(keysShown(mcp)).toHaveLength(mcp.heard.length);
    for (const { headers } of mcp.heard) {
      const others = Object.entries(headers).filter(([name]) => name !== 'authorization');
      expect(JSON.stringify(others)).not.toContain(VALUE);
    }
    expect((await notes())[0]?.body).toMatchObject({
      change: 'mcp_import_credential',
      import: done?.id,
      secret: 'notes-key',
      version: 1,
      host: host.id,
      by: BY.actor,
    });
    expect(
      await line.database.asOwner('SELECT leased_host FROM mcp_imports WHERE id = $1', [done?.id]),
    ).toEqual([{ leased_host: null }]);
    // what it brings is called with the same credential, once an admin has switched it on
    const tools = (await listTools(db())).filter(({ id }) => id.startsWith('notes.'));
    expect(tools).toHaveLength(4);
    expect(tools.map(({ enabled, spec }) => [enabled, (spec as { credential: Json }).credential])).toEqual(
      tools.map(() => [false, credential()]),
    );
  });

  it('is shown to nobody else: without an order for one the same server lists nothing', async () => {
    expect(await imported('plain', undefined)).toMatchObject({ state: 'failed' });
    expect(keysShown(mcp)).toEqual([]);
  });

  it('attack: it is bound elsewhere, and goes nowhere', async () => {
    const failed = await imported('other', credential(), { url: elsewhere.url });
    expect(failed).toMatchObject({ state: 'failed', message: expect.stringContaining(mcp.host) });
    expect(elsewhere.heard).toEqual([]);
  });

  it('attack: a server that redirects, that refuses and says it back, and that echoes it in what it lists', async () => {
    mcp.lie = 'redirects';
    expect(await imported('redirects', credential())).toMatchObject({ state: 'failed' });
    mcp.lie = undefined;
    mcp.wants = 'Bearer another';
    expect(await imported('refused', credential())).toMatchObject({ state: 'failed' });
    mcp.wants = `Bearer ${VALUE}`;
    mcp.lie = 'echo in the description';
    const done = await imported('echo', credential());
    expect(done?.changes).toContainEqual({ name: 'take', toolId: 'echo.take', change: 'new' });
    const echo = (await listTools(db())).find(({ id }) => id === 'echo.take');
    expect(echo?.description).toContain('xBearer [reda');
    await expectNowhere();
  });

  it("attack: another tenant's secret of that name, and one that is not there", async () => {
    const theirs = await imported('notes', credential(), { url: mcp.url }, 'globex');
    const nobodys = await imported('missing', credential('no-such-key'));
    expect(theirs).toMatchObject({ state: 'failed', message: 'There is no secret notes-key.' });
    expect(nobodys).toMatchObject({ state: 'failed', message: 'There is no secret no-such-key.' });
    expect(mcp.heard).toEqual([]);
    expect((await notes())[0]?.body).toMatchObject({ change: 'mcp_import_credential_refused' });
  });

  it.each([
    ['agents', { agents: ['support'] }, 'agents'],
    ['tools of another system', { tools: ['crm.read'] }, 'tools of sys-b'],
  ])('attack: a secret that names %s is not for it', async (_, rules, message) => {
    const name = `only-${Object.keys(rules)[0]}`;
    await secret(name, rules);
    expect(await imported('sys-b', credential(name))).toMatchObject({
      state: 'failed',
      message: expect.stringContaining(message),
    });
    expect(mcp.heard).toEqual([]);
  });

  it('one whose secret names tools of this system is carried out', async () => {
    await secret('named', { tools: ['sys-c.take'] });
    expect(await imported('sys-c', credential('named'))).toMatchObject({ state: 'done' });
  });
});

describe('what stops it', () => {
  it('a stop of the tenant', async () => {
    const id = buildStopId(tenantId('acme'), ulid());
    const stop = { id, scope: 'tenant', target: '', state: 'killed', end: false, ...BY } as const;
    await stopCalls(db(), stop);
    expect(await imported('stopped', credential())).toMatchObject({
      state: 'failed',
      message: 'The tenant is killed.',
    });
    await resumeCalls(db(), { id, ...BY });
    expect(mcp.heard).toEqual([]);
  });

  it('a host that is fenced, and an order that is not under way at this host, get nothing', async () => {
    const fenced = await line.newHost();
    await line.fence(fenced);
    const { id } = await order('fenced', credential());
    await expect(carryOutImports(db(), portsOf(fenced.id))).rejects.toMatchObject({ code: 'INVALID_STATE' });
    const { lease } = ports;
    const never = () => Promise.reject(new Error('it was given'));
    for (const state of ['asked', 'done']) {
      await line.database.asOwner('UPDATE mcp_imports SET state = $2 WHERE id = $1', [id, state]);
      await expect(lease(tenantId('acme'), id, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    }
    const { id: plain } = await order('plain', undefined);
    await line.database.asOwner("UPDATE mcp_imports SET state = 'taken' WHERE id = $1", [plain]);
    await expect(lease(tenantId('acme'), plain, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(lease(tenantId('globex'), plain, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await line.database.asOwner("UPDATE mcp_imports SET state = 'done' WHERE id = $1", [plain]);
    expect(mcp.heard).toEqual([]);
  });

  it('a revocation is not in force while a list is asked for with what was revoked, and the next import gets nothing', async () => {
    await secret('short-lived');
    const asked = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    mcp.before = async (method) => {
      if (method !== 'tools/list') return;
      asked.resolve();
      await go.promise;
    };
    const under = imported('revoked', credential('short-lived'));
    await asked.promise;
    const id = buildRevocationId(tenantId('acme'), ulid());
    const answered = await revokeSecrets(db(), {
      id,
      scope: 'secret',
      secret: 'short-lived',
      version: undefined,
      target: undefined,
      dryRun: false,
      boundMs: 100,
      ...BY,
    });
    expect(answered).toMatchObject({ inForce: false, waitingFor: [host.id] });
    const waitsFor = () => db().call('revocations_not_in_force', {});
    expect(await waitsFor()).toEqual([host.id]);
    go.resolve();
    expect(await under).toMatchObject({ state: 'done' });
    expect(await waitsFor()).toEqual([]);
    mcp.heard.length = 0;
    mcp.before = undefined;
    expect(await imported('again', credential('short-lived'))).toMatchObject({
      state: 'failed',
      message: 'Secret short-lived is revoked.',
    });
    expect(mcp.heard).toEqual([]);
  });

  it('a credential that cannot be opened: it has failed at once, and says so', async () => {
    const keyRing = { open: () => Promise.reject(new BulkheadError('KEY_UNAVAILABLE')) };
    const { id } = await order('keyless', credential());
    const lease = createImportLeases({ door: line.door, keyRing, hostId: host.id });
    await carryOutImports(db(), { list: adapters.listMcp, lease });
    expect(await found(id)).toMatchObject({ state: 'failed', message: expect.stringContaining('opened') });
    expect(mcp.heard).toEqual([]);
  });

  it.each([
    ['a local server', { stdio: 'memory' }, credential()],
    ['no name', { url: 'https://x.example/mcp' }, { slot: { header: 'authorization' } }],
    ['a value in it', { url: 'https://x.example/mcp' }, { ...(credential() as object), value: VALUE }],
    ['no header', { url: 'https://x.example/mcp' }, { secret: 'notes-key', slot: { header: 'A b' } }],
  ])('an order with %s is refused and names the field', async (_, server, given) => {
    await expect(order('bad', given as Json, server)).rejects.toMatchObject({
      code: 'BAD_INPUT',
      field: 'credential',
    });
  });
});

it('what it brings is called with the same credential once an admin has switched it on, and an echo is taken out', async () => {
  await secret('live-key', { access: 'mutate' });
  await imported('live', credential('live-key'));
  await setToolEnabled(db(), 'live.take', true, BY);
  mcp.heard.length = 0;
  mcp.lie = 'asks for a token';
  const answer = await host.call(await line.newRun('acme'), 'live.take', { text: 'x' });
  expect(answer).toMatchObject({ kind: 'ok', value: { content: [{ text: 'you sent Bearer [redacted]' }] } });
  expect(keysShown(mcp)).toHaveLength(mcp.heard.length);
  await expectNowhere();
});

/** Nowhere in the database, in any form in which a text is likely to be kept. */
async function expectNowhere(): Promise<void> {
  const tables = await line.database.asOwner<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'",
  );
  expect(tables.length).toBeGreaterThan(20);
  const forms = [VALUE, encodeURIComponent(VALUE), Buffer.from(VALUE).toString('base64'), VALUE.slice(0, 12)];
  for (const { name } of tables) {
    const hits = await line.database.asOwner<{ hits: string }>(
      `SELECT count(*) AS hits FROM "${name}" t WHERE t::text LIKE ANY ($1)`,
      [forms.map((form) => `%${form}%`)],
    );
    expect([name, hits[0]?.hits]).toEqual([name, '0']);
  }
}
