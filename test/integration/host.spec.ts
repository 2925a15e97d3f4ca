import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it, vi } from 'vitest';
import { agentId } from '@bulkhead/contract';
import type { Json, RunId, TenantId } from '@bulkhead/contract';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createAcceptRun, findRun } from '@bulkhead/runs/admin';
import type { Run } from '@bulkhead/runs/admin';
import { createEnvelopeSigner } from '@bulkhead/runtime/envelope';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';
import { newUlid } from '@bulkhead/runtime/ulid';
import { tenantKeys } from '@bulkhead/prisma/tenant';
import { hostMcpServers } from '../../tools/src/processes.js';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { makeDemoTenant, startDemoServices } from '../support/demo-tenant.js';
import type { DemoServices } from '../support/demo-tenant.js';
import { startMain } from '../support/processes.js';
import type { RunningMain } from '../support/processes.js';

/** Both mains as processes, real servers, real MCP server, the demo's helpdesk and scripted model. Nothing is faked. */
const SLOW_MS = 1_500;
let database: TestDatabase;
let door: TenantDoor;
let keyRing: KeyRing;
let services: DemoServices;
let dataDir: string;
let control: RunningMain;
let host: RunningMain;

function startHost(): Promise<RunningMain> {
  const { keys, temporal } = inject('servers');
  return startMain('host', dataDir, {
    role: 'host',
    database: { url: database.appUrl, poolMax: 8 },
    temporal: { address: temporal.address, enforcesTokens: true, tokensDir: join(dataDir, 'tokens') },
    keys: { master: keys.master, envelopePublic: keys.envelopePublic },
    host: { bundlePath: workflowBundlePath(), dataDir: join(dataDir, 'host'), mcpServers: hostMcpServers() },
    log: { level: 'debug' },
  });
}

beforeAll(async () => {
  const { keys, temporal } = inject('servers');
  database = await freshDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'bulkhead-host-'));
  door = openTenantDoor({ url: database.appUrl, poolMax: 8, onError: () => undefined });
  keyRing = createKeyRing({ masterKeyPath: keys.master, loadTenantKey: tenantKeys(door) });
  services = await startDemoServices({ delayMs: SLOW_MS });
  control = await startMain('control', dataDir, {
    role: 'control',
    database: { url: database.controlUrl, poolMax: 8 },
    temporal: { address: temporal.address, enforcesTokens: true, tokensDir: join(dataDir, 'tokens') },
    keys: { temporalSigning: keys.temporalSigning, envelopeSigning: keys.envelopeSigning },
    log: { level: 'info' },
  });
  host = await startHost();
});
afterAll(async () => {
  await host.stop();
  await control.stop();
  await services.close();
  await door.close();
  await database.drop();
  await rm(dataDir, { recursive: true });
});

async function accept(tenantId: TenantId, agent: string, input: Json): Promise<RunId> {
  const signer = createEnvelopeSigner(inject('servers').keys.envelopeSigning);
  const acceptRun = createAcceptRun({
    signEnvelope: (envelope) => signer.sign(envelope),
    newUlid: () => newUlid(Date.now()),
    now: () => new Date(),
  });
  const request = {
    agentId: agentId(agent),
    idempotencyKey: newUlid(Date.now()),
    input,
    actor: 'key:operator',
  };
  return (await acceptRun(door.tenant(tenantId), request)).runId;
}
const runOf = (tenantId: TenantId, id: RunId): Promise<Run | undefined> => findRun(door.tenant(tenantId), id);
const until = (tenantId: TenantId, id: RunId, state: string, timeout = 30_000): Promise<void> =>
  vi.waitFor(async () => expect((await runOf(tenantId, id))?.state).toBe(state), { timeout, interval: 50 });

it('a tenant that is added while the host runs is served within seconds, and its refusals name the rule', async () => {
  const tenantId = await makeDemoTenant(door, keyRing, services, { like: 'acme' });
  const id = await accept(tenantId, 'support-triage', { ticketId: 'T-1001' });
  await until(tenantId, id, 'completed', 20_000);
  const run = await runOf(tenantId, id);
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
  const tenantId = await makeDemoTenant(door, keyRing, services, { like: 'globex' });
  const id = await accept(tenantId, 'support-triage', { ticketId: 'T-1002' });
  await until(tenantId, id, 'approval_required');
  const [approval] = await database.asOwner<{ id: string }>('SELECT id FROM approvals WHERE run_id = $1', [
    id,
  ]);
  const before = (await services.effects()).effects.length;
  const decided = await door.tenant(tenantId).call('decide_approval', {
    approvalId: approval?.id,
    decision: 'approved',
    decidedBy: 'key:admin',
    role: 'admin',
    reason: 'fine',
  });
  expect(decided).toMatchObject({ kind: 'decided' });
  await until(tenantId, id, 'completed');
  expect((await services.effects()).effects).toHaveLength(before + 1);
});

it('a host that is killed in the middle of a keyed call: the run completes and the helpdesk made one change', async () => {
  const tenantId = await makeDemoTenant(door, keyRing, services, { like: 'acme' });
  const before = await services.effects();
  const id = await accept(tenantId, 'long-chain', { ticketId: 'T-1001', segments: 1 });
  await vi.waitFor(async () => expect((await services.effects()).requests).toBe(before.requests + 1), {
    timeout: 20_000,
    interval: 20,
  });
  await host.kill();
  host = await startHost();
  await until(tenantId, id, 'completed', 40_000);
  const after = await services.effects();
  expect(after.effects).toHaveLength(before.effects.length + 1);
  expect(after.requests).toBe(before.requests + 2);
});

it('a host that is killed in the middle of a call that nobody can repeat: one request, outcome indeterminate', async () => {
  const tenantId = await makeDemoTenant(door, keyRing, services, {
    like: 'acme',
    change: (toolId, spec) =>
      toolId === 'helpdesk.ticket.update'
        ? { ...(spec as { [key: string]: Json }), idempotency: 'none' }
        : spec,
  });
  const before = await services.effects();
  const id = await accept(tenantId, 'long-chain', { ticketId: 'T-1001', segments: 1 });
  await vi.waitFor(async () => expect((await services.effects()).requests).toBe(before.requests + 1), {
    timeout: 20_000,
    interval: 20,
  });
  await host.kill();
  host = await startHost();
  await until(tenantId, id, 'completed', 40_000);
  expect((await runOf(tenantId, id))?.result).toMatchObject({ steps: [{ outcome: 'indeterminate' }] });
  expect((await services.effects()).requests).toBe(before.requests + 1);
});

it('SIGTERM in the middle of a call drains: the call ends, the next host goes on, nothing is done twice', async () => {
  const tenantId = await makeDemoTenant(door, keyRing, services, { like: 'acme' });
  const before = await services.effects();
  const id = await accept(tenantId, 'long-chain', { ticketId: 'T-1001', segments: 2 });
  await vi.waitFor(async () => expect((await services.effects()).requests).toBe(before.requests + 1), {
    timeout: 20_000,
    interval: 20,
  });
  expect(await host.stop()).toBe(0);
  host = await startHost();
  await until(tenantId, id, 'completed', 40_000);
  expect((await services.effects()).requests).toBe(before.requests + 2);
});

it('the helpdesk’s key is in no log of any process, the killed ones included', async () => {
  const logs = (await readdir(dataDir)).filter((name) => name.endsWith('.log'));
  expect(logs.length).toBeGreaterThan(3);
  for (const name of logs) {
    expect(await readFile(join(dataDir, name), 'utf8')).not.toContain(services.helpdeskKey);
  }
});
