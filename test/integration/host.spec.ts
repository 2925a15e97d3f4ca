import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { buildImportId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { newUlid } from '@bulkhead/runtime/ulid';
import { listImports, listTools, orderImport } from '@bulkhead/tool-gateway/admin';
import { makeDemoTenant } from '../support/demo-tenant.js';
import { openHostWorld } from '../support/host-world.js';
import type { HostWorld } from '../support/host-world.js';
import type { RunningMain } from '../support/processes.js';

const SLOW_MS = 1_500;
let world: HostWorld;
let host: RunningMain;

beforeAll(async () => {
  world = await openHostWorld({ delayMs: SLOW_MS });
  host = await world.startHost();
});
afterAll(async () => {
  await host.stop();
  await world.close();
});

it('a tenant that is added while the host runs is served within seconds, and its refusals name the rule', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  const id = await world.accept(tenantId, 'support-triage', { ticketId: 'T-1001' });
  await world.until(tenantId, id, 'completed', 20_000);
  const run = await world.runOf(tenantId, id);
  if (!run) throw new Error('the run is gone');
  const { steps } = run.result as {
    steps: { tool: string; outcome: string; rule?: string }[];
  };
  expect(steps.map(({ tool, outcome }) => [tool, outcome])).toEqual([
    ['helpdesk.ticket.read', 'ok'],
    ['memory.search_nodes', 'ok'],
    ['model.chat', 'ok'],
    ['memory.create_entities', 'ok'],
    ['helpdesk.ticket.update', 'ok'],
    ['webhook.post', 'denied'],
  ]);
  expect(steps.at(-1)?.rule).toBe('no-external-destinations');
});

it('a write that a person must approve waits, and runs after the approval', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'globex' });
  const id = await world.accept(tenantId, 'support-triage', { ticketId: 'T-1002' });
  await world.until(tenantId, id, 'approval_required');
  const [approval] = await world.database.asOwner<{ id: string }>(
    'SELECT id FROM approvals WHERE run_id = $1',
    [id],
  );
  const before = (await world.services.effects()).effects.length;
  const decided = await world.door.tenant(tenantId).call('decide_approval', {
    approvalId: approval?.id,
    decision: 'approved',
    decidedBy: 'key:admin',
    role: 'admin',
    reason: 'fine',
    args: [...(await sealArgumentsWith(world.keyRing)(tenantId, [{ approvalId: approval?.id ?? '' }]))],
  });
  expect(decided).toMatchObject({ kind: 'decided' });
  await world.until(tenantId, id, 'completed');
  expect((await world.services.effects()).effects).toHaveLength(before + 1);
});

it('a host that is killed in the middle of a keyed call: the run completes and the helpdesk made one change', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  const before = await world.services.effects();
  const id = await world.accept(tenantId, 'long-chain', { ticketId: 'T-1001', segments: 1 });
  await vi.waitFor(async () => expect((await world.services.effects()).requests).toBe(before.requests + 1), {
    timeout: 20_000,
    interval: 20,
  });
  await host.kill();
  host = await world.startHost();
  await world.until(tenantId, id, 'completed', 40_000);
  const after = await world.services.effects();
  expect(after.effects).toHaveLength(before.effects.length + 1);
  expect(after.requests).toBe(before.requests + 2);
});

it('a host that is killed in the middle of a call that nobody can repeat: one request, outcome indeterminate', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, {
    like: 'acme',
    change: (toolId, spec) =>
      toolId === 'helpdesk.ticket.update'
        ? { ...(spec as { [key: string]: Json }), idempotency: 'none' }
        : spec,
  });
  const before = await world.services.effects();
  const id = await world.accept(tenantId, 'long-chain', { ticketId: 'T-1001', segments: 1 });
  await vi.waitFor(async () => expect((await world.services.effects()).requests).toBe(before.requests + 1), {
    timeout: 20_000,
    interval: 20,
  });
  await host.kill();
  host = await world.startHost();
  await world.until(tenantId, id, 'completed', 40_000);
  expect((await world.runOf(tenantId, id))?.result).toMatchObject({ steps: [{ outcome: 'indeterminate' }] });
  expect((await world.services.effects()).requests).toBe(before.requests + 1);
});

it('SIGTERM in the middle of a call drains: the call ends, the next host goes on, nothing is done twice', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  const before = await world.services.effects();
  const id = await world.accept(tenantId, 'long-chain', { ticketId: 'T-1001', segments: 2 });
  await vi.waitFor(async () => expect((await world.services.effects()).requests).toBe(before.requests + 1), {
    timeout: 20_000,
    interval: 20,
  });
  expect(await host.stop()).toBe(0);
  host = await world.startHost();
  await world.until(tenantId, id, 'completed', 40_000);
  expect((await world.services.effects()).requests).toBe(before.requests + 2);
});

it('the helpdesk’s key is in no log of any process, the killed ones included', async () => {
  const logs = (await readdir(world.dataDir)).filter((name) => name.endsWith('.log'));
  expect(logs.length).toBeGreaterThan(3);
  for (const name of logs) {
    expect(await readFile(join(world.dataDir, name), 'utf8')).not.toContain(world.services.helpdeskKey);
  }
});

it('an MCP server’s whole offer is taken over by a host, over its own connections, and stays off', async () => {
  const tenantId = await makeDemoTenant(world.door, world.keyRing, world.services, { like: 'acme' });
  const db = world.door.tenant(tenantId);
  const id = buildImportId(tenantId, newUlid(Date.now()));
  const by = { actor: 'user:ann', reason: 'a graph' };
  await orderImport(db, { id, system: 'graph', server: { stdio: 'memory' }, ...by });
  await vi.waitFor(async () => expect((await listImports(db))[0]?.state).toBe('done'), {
    timeout: 30_000,
    interval: 200,
  });
  const tools = (await listTools(db)).filter((tool) => tool.id.startsWith('graph.'));
  expect(tools.length).toBeGreaterThan(5);
  expect(tools.every(({ enabled, effect }) => !enabled && effect === 'irreversible')).toBe(true);
});
