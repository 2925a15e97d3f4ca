import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildImportId, tenantId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { newUlid } from '@bulkhead/runtime/ulid';
import {
  findTool,
  listImports,
  listTools,
  orderImport,
  putTool,
  setToolEnabled,
} from '@bulkhead/tool-gateway/admin';
import type { McpImport } from '@bulkhead/tool-gateway/admin';
import { carryOutImports, createAdapters } from '@bulkhead/tool-gateway/line';
import type { ImportPorts } from '@bulkhead/tool-gateway/line';
import { hostMcpServers } from '../../tools/src/processes.js';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { LineUnderTest } from '../support/line.js';
import { LIES, startLyingMcp } from '../support/lying-mcp.js';
import type { LyingMcp } from '../support/lying-mcp.js';

let line: LineUnderTest;
let mcp: LyingMcp;
let host: ReturnType<typeof createAdapters>;
const folder = mkdtempSync(join(tmpdir(), 'imports-'));
const BY = { actor: 'user:ann', reason: 'notes' };

beforeAll(async () => {
  line = await openLine();
  await line.publish('acme', [ALLOW_ALL]);
  mcp = await startLyingMcp('http://127.0.0.1:9/thief');
  host = createAdapters({
    mcp: { servers: hostMcpServers(), dataDir: folder, path: process.env['PATH'] ?? '' },
    egress: { allow: ['127.0.0.0/8'] },
  });
});
afterAll(async () => {
  await host.close();
  await mcp.close();
  await line.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  mcp.lie = undefined;
  await line.database.asOwner("UPDATE mcp_imports SET state = 'done' WHERE state = 'asked'");
});

const db = (tenant = 'acme') => line.db(tenant);
/** None of these imports has a credential: asking for one fails the test. */
const ports = (list: ImportPorts['list'] = host.listMcp): ImportPorts => ({
  list,
  lease: () => Promise.reject(new Error('nobody ordered a credential')),
});
const order = (system: string, server: Json, tenant = 'acme') =>
  orderImport(db(tenant), {
    id: buildImportId(tenantId(tenant), newUlid(Date.now())),
    system,
    server,
    ...BY,
  });
async function imported(
  system: string,
  server: Json = { url: mcp.url },
  tenant = 'acme',
): Promise<McpImport> {
  const { id } = await order(system, server, tenant);
  await carryOutImports(db(tenant), ports());
  const found = (await listImports(db(tenant))).find((each) => each.id === id);
  if (!found) throw new Error('the order is gone');
  return found;
}
const changesOf = ({ changes }: McpImport) =>
  changes?.map(({ name, toolId, change }) => [name, toolId, change]);

describe('an import', () => {
  it('makes tools that are off, irreversible, never repeated and pinned, and no call of them begins', async () => {
    const done = await imported('notes');
    expect(done).toMatchObject({ state: 'done', actor: BY.actor, endedAt: expect.any(Date) as Date });
    expect(changesOf(done)).toEqual([
      ['desk.read', 'notes.desk_read', 'new'],
      ['model.chat', 'notes.model_chat', 'new'],
      ['take', 'notes.take', 'new'],
      ['take ', 'notes.take_', 'new'],
    ]);
    const tool = await findTool(db(), 'notes.take');
    expect(tool).toMatchObject({ enabled: false, effect: 'irreversible', idempotency: 'none', version: 1 });
    expect(tool.disabledReason).toContain('Imported');
    expect(tool.spec).toMatchObject({
      server: { url: mcp.url },
      tool: 'take',
      pin: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      description: 'Takes a note.',
      inputSchema: { required: ['text'], additionalProperties: false },
    });
    const run = await line.newRun('acme');
    const answer = await (await line.newHost()).call(run, 'notes.take', { text: 'x' });
    expect(answer).toMatchObject({ kind: 'invalid_input', reason: { field: 'toolId' } });
    // nothing of another tenant's, and nothing was called or confided
    expect((await listTools(db('globex'))).filter(({ id }) => id.startsWith('notes.'))).toEqual([]);
    expect(mcp.calls).toEqual([]);
    expect(mcp.heard.every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  it('after an admin has set and enabled a tool it is called; a second import leaves it as it is', async () => {
    const { spec } = await findTool(db(), 'notes.take');
    await putTool(db(), 'notes.take', { ...(spec as object), effect: 'write', idempotency: 'natural' });
    expect((await findTool(db(), 'notes.take')).enabled).toBe(false);
    await setToolEnabled(db(), 'notes.take', true, BY);
    const call = async () =>
      (await line.newHost()).call(await line.newRun('acme'), 'notes.take', { text: 'x' });
    expect(await call()).toMatchObject({ kind: 'ok' });
    expect(new Set((await imported('notes')).changes?.map(({ change }) => change))).toEqual(
      new Set(['same']),
    );
    expect(await findTool(db(), 'notes.take')).toMatchObject({ enabled: true, effect: 'write', version: 2 });
  });

  it.each(['description', 'hidden instructions', 'schema', 'title', 'annotations'] as const)(
    'attack: a server that changes its %s is shown as a difference and switched off, and stays off when it changes back',
    async (lie) => {
      await imported('notes');
      await setToolEnabled(db(), 'notes.take', true, BY);
      const { spec: approved, version } = await findTool(db(), 'notes.take');
      mcp.lie = lie;
      const { changes } = await imported('notes');
      const change = changes?.find(({ name }) => name === 'take');
      expect(change).toMatchObject({ change: 'changed', before: { description: 'Takes a note.' } });
      const tool = await findTool(db(), 'notes.take');
      expect(tool).toMatchObject({
        enabled: false,
        version,
        offer: { pin: expect.any(String) as string },
      });
      expect(tool.spec).toEqual(approved);
      mcp.lie = undefined;
      await imported('notes');
      expect((await findTool(db(), 'notes.take')).enabled).toBe(false);
    },
  );

  it('attack: a name that is listed twice, that is gone, and that is another tool’s, is not taken over', async () => {
    await imported('notes');
    mcp.lie = 'twice';
    expect((await imported('twice')).changes).toContainEqual({
      name: 'take',
      change: 'left_out',
      message: expect.any(String) as string,
    });
    mcp.lie = 'gone';
    expect(changesOf(await imported('notes'))).toContainEqual(['take', 'notes.take', 'gone']);
    mcp.lie = undefined;
    const before = await findTool(db(), 'desk.read');
    await putTool(db(), 'desk.take', before.spec);
    const { changes } = await imported('desk');
    expect(changes?.find(({ name }) => name === 'take')).toMatchObject({ change: 'left_out' });
    expect((await findTool(db(), 'desk.take')).spec).toEqual(before.spec);
    // of the same server, under a name that stands for another tool of it
    const { spec } = await findTool(db(), 'notes.take');
    await putTool(db(), 'mix.take', { ...(spec as object), tool: 'desk.read' });
    const mixed = await imported('mix');
    expect(mixed.changes?.find(({ name }) => name === 'take')).toMatchObject({ change: 'left_out' });
    expect(await findTool(db(), 'mix.take')).toMatchObject({ enabled: true, spec: { tool: 'desk.read' } });
  });

  it.each(LIES.filter((lie) => /list|login|redirects$|protocol/.test(lie)))(
    'attack: of a server with %s nothing is taken over',
    async (lie) => {
      mcp.lie = lie;
      const count = (await listTools(db())).length;
      expect(await imported('liar')).toMatchObject({ state: 'failed', changes: undefined });
      expect(await listTools(db())).toHaveLength(count);
    },
    40_000,
  );

  it('takes over a local server, and leaves alone what the operator’s own is already declared as', async () => {
    const done = await imported('graph', { stdio: 'memory' });
    expect(done.state).toBe('done');
    expect(changesOf(done)).toContainEqual(['search_nodes', 'graph.search_nodes', 'new']);
    const { spec } = await findTool(db(), 'graph.search_nodes');
    const { pin: _, ...unpinned } = spec as { [name: string]: Json };
    await putTool(db(), 'graph.search_nodes', unpinned);
    await setToolEnabled(db(), 'graph.search_nodes', true, BY);
    expect(changesOf(await imported('graph', { stdio: 'memory' }))).toContainEqual([
      'search_nodes',
      'graph.search_nodes',
      'same',
    ]);
    expect(await imported('graph', { stdio: 'unknown' })).toMatchObject({ state: 'failed' });
  });

  it('stops at the number of tools that a tenant may have', async () => {
    await line.database.asOwner(
      `INSERT INTO tools (tenant_id, id, spec) SELECT 'globex', 'fill.t' || chr(97 + i / 26) || chr(97 + i % 26),
        (SELECT spec FROM tools WHERE tenant_id = 'acme' AND id = 'desk.read') FROM generate_series(0, 499 - 1 - (SELECT count(*)::int FROM tools WHERE tenant_id = 'globex')) i`,
    );
    const { changes } = await imported('notes', { url: mcp.url }, 'globex');
    expect(changes?.map(({ change }) => change)).toEqual(['new', 'left_out', 'left_out', 'left_out']);
  });
});

describe('attack: a list whose schemas take long to compile', () => {
  const names = ['a', 'b', 'c'];
  /** Each schema tells when it was last read. */
  const slow = (onRead: (name: string) => void) => async () =>
    names.map((name) => ({
      name,
      inputSchema: {
        type: 'object',
        get properties() {
          onRead(name);
          return {};
        },
      },
    }));
  const state = async (id: string) => (await listImports(db())).find((each) => each.id === id);

  it('is checked before the tenant’s lock is taken, each in a turn of its own', async () => {
    let [isLocked, turn] = [false, 0];
    const locks = {
      ...db(),
      change: async (work: never) => {
        isLocked = true;
        return db().change(work);
      },
    } as ReturnType<typeof db>;
    const readAt = new Map<string, number>();
    const read = (name: string): void => {
      expect(isLocked).toBe(false);
      readAt.set(name, turn);
    };
    let isOver = false;
    const count = (): void => {
      turn += 1;
      if (!isOver) setImmediate(count);
    };
    count();
    const { id } = await order('turns', { url: 'https://turns.example/mcp' });
    await carryOutImports(locks, ports(slow(read))).finally(() => (isOver = true));
    expect(await state(id)).toMatchObject({ state: 'done' });
    expect(new Set(readAt.values()).size).toBe(names.length);
  });

  it('is taken over as far as there is time, and further by the next import', async () => {
    const made: unknown[] = [];
    for (const _ of names) {
      const { id } = await order('slow', { url: 'https://slow.example/mcp' });
      await carryOutImports(db(), ports(slow(() => undefined)), 0);
      made.push((await state(id))?.changes?.map(({ change }) => change));
    }
    expect(made).toEqual([
      ['new', 'left_out', 'left_out'],
      ['same', 'new', 'left_out'],
      ['same', 'same', 'new'],
    ]);
  });

  it('changes nothing once its order has ended', async () => {
    const { id } = await order('late', { url: 'https://late.example/mcp' });
    const late = async () => {
      await line.database.asOwner("UPDATE mcp_imports SET state = 'failed' WHERE id = $1", [id]);
      return slow(() => undefined)();
    };
    await expect(carryOutImports(db(), ports(late))).rejects.toMatchObject({ code: 'INVALID_STATE' });
    expect((await listTools(db())).filter((tool) => tool.id.startsWith('late.'))).toEqual([]);
  });
});

describe('an order', () => {
  it.each([
    ['a.b', { url: 'https://x.example/mcp' }, 'system'],
    ['Notes', { url: 'https://x.example/mcp' }, 'system'],
    ['notes', { url: 'ftp://x.example/mcp' }, 'server'],
    ['notes', { command: 'sh' }, 'server'],
    ['notes', { stdio: '../sh' }, 'server'],
  ])('of %s from %j is refused', async (system, server, fieldName) => {
    await expect(order(system, server)).rejects.toMatchObject({ code: 'BAD_INPUT', field: fieldName });
  });

  it('is carried out by one host, once; a few may wait, and one that no host takes has failed', async () => {
    await order('once', { url: mcp.url });
    mcp.heard.length = 0;
    await Promise.all([1, 2, 3].map(() => carryOutImports(db(), ports())));
    expect(mcp.heard.filter(({ method }) => method === 'tools/list')).toHaveLength(1);
    for (let i = 0; i < 5; i += 1) await order('waits', { url: mcp.url });
    await expect(order('waits', { url: mcp.url })).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await line.database.asOwner(
      "UPDATE mcp_imports SET asked_at = now() - interval '6 minutes' WHERE state = 'asked'",
    );
    await carryOutImports(db(), ports());
    const waited = (await listImports(db())).filter(({ system }) => system === 'waits');
    expect(waited.map(({ state }) => state)).toEqual(Array(5).fill('failed'));
  });

  it('whose host did not finish it has failed, and is not taken again for ever', async () => {
    const { id } = await order('again', { url: mcp.url });
    await line.database.asOwner(
      `UPDATE mcp_imports SET state = 'taken', taken_at = now() - interval '30 seconds' WHERE id = $1`,
      [id],
    );
    const found = async () => (await listImports(db())).find((each) => each.id === id);
    await carryOutImports(db(), ports());
    expect(await found()).toMatchObject({ state: 'taken' });
    await line.database.asOwner(
      "UPDATE mcp_imports SET taken_at = now() - interval '61 seconds' WHERE id = $1",
      [id],
    );
    mcp.heard.length = 0;
    await carryOutImports(db(), ports());
    expect(await found()).toMatchObject({
      state: 'failed',
      endedAt: expect.any(Date) as Date,
      message: 'A host took it and did not finish it.',
    });
    expect(mcp.heard).toEqual([]);
  });
});
