import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it, vi } from 'vitest';
import { pino } from 'pino';
import { agentId, tenantId, workspaceId } from '@bulkhead/contract';
import type { RunId, TenantId } from '@bulkhead/contract';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createAcceptRun, findRun, listRunRequests, requestRun } from '@bulkhead/runs/admin';
import type { Run } from '@bulkhead/runs/admin';
import { openConnection, openTenantClient } from '@bulkhead/runtime/client';
import { createEnvelopeSigner, createEnvelopeVerifier } from '@bulkhead/runtime/envelope';
import {
  createCarrierCodec,
  createTenantCodec,
  openSealed,
  sealArgumentsWith,
} from '@bulkhead/runtime/codec';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { createFileTokenSource, createTokenMinter } from '@bulkhead/runtime/tokens';
import {
  closeFleetThreads,
  createTenantWorker,
  installRuntime,
  openWorkerConnection,
} from '@bulkhead/runtime/worker';
import { createTenant, putAgent } from '@bulkhead/tenancy/admin';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';
import { newUlid } from '@bulkhead/runtime/ulid';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { controlFolders, controlKeys } from '../support/control-keys.js';
import { startMain } from '../support/processes.js';
import type { RunningMain } from '../support/processes.js';
import { resetToFirstTask } from '../support/reset.js';
import { scriptedLine } from '../support/scripted-line.js';
import type { ScriptedLine } from '../support/scripted-line.js';

/** The control main as a process, on the real database and the real Temporal; only the host's line is scripted. */
const ACME = tenantId(`acme-${Date.now().toString(36)}`);
const AGENT = agentId('chain');
const HOST = 'test-host';
let database: TestDatabase;
let door: TenantDoor;
let keyRing: KeyRing;
let dataDir: string;
let control: RunningMain;
const line = scriptedLine();
let stopServing: () => Promise<void>;
const cleanups: (() => Promise<unknown>)[] = [];

const configOf = (address: string) => ({
  role: 'control',
  database: { url: database.controlUrl, poolMax: 8 },
  temporal: { address, enforcesTokens: true, tokensDir: join(dataDir, 'tokens') },
  keys: controlKeys(dataDir),
  control: controlFolders(dataDir),
  log: { level: 'debug' },
});

async function newTenant(id: TenantId): Promise<void> {
  const db = door.tenant(id);
  await createTenant(db, keyRing, { name: id });
  await putAgent(db, {
    id: AGENT,
    workspaceId: workspaceId('main'),
    name: 'Chain',
    description: 'A long chain.',
    workflowType: 'longChain',
    inputSchema: { type: 'object' },
  });
}

async function accept(idempotencyKey: string, input = { ticketId: 'T-1', segments: 2 }): Promise<RunId> {
  const signer = createEnvelopeSigner(inject('servers').keys.envelopeSigning);
  const acceptRun = createAcceptRun({
    signEnvelope: (envelope) => signer.sign(envelope),
    sealArguments: sealArgumentsWith(keyRing),
    newUlid: () => newUlid(Date.now()),
    now: () => new Date(),
  });
  const request = { agentId: AGENT, idempotencyKey, input, actor: 'key:test0000' };
  return (await acceptRun(door.tenant(ACME), request)).runId;
}

/** Serves the tenant until the returned function is called. */
async function serve(line: ScriptedLine): Promise<() => Promise<void>> {
  const { temporal, keys } = inject('servers');
  const tokens = createFileTokenSource({ dir: join(dataDir, 'tokens', 'hosts', HOST) });
  const connection = await openWorkerConnection({
    address: temporal.address,
    token: await tokens.get(ACME, 'write'),
  });
  const worker = await createTenantWorker({
    tenantId: ACME,
    connection,
    bundlePath: workflowBundlePath(),
    verifier: createEnvelopeVerifier(keys.envelopePublic),
    codec: createTenantCodec(ACME, keyRing),
    onRefusal: () => undefined,
    activities: line.activities,
    identity: HOST,
    maxCachedWorkflows: 20,
    shutdownGraceMs: 1_000,
  });
  const running = worker.run();
  return async () => {
    worker.shutdown();
    await running;
    await connection.close();
  };
}

/** The test is the host: as long as it beats, it is assigned the tenant and gets tokens. */
async function registerHost(): Promise<void> {
  await door.host('host_register', HOST);
  const beating = setInterval(() => void door.host('host_beat', HOST), 1_000);
  cleanups.push(async () => clearInterval(beating));
}

const runOf = (id: RunId): Promise<Run | undefined> => findRun(door.tenant(ACME), id);
const until = (id: RunId, state: string): Promise<void> =>
  vi.waitFor(async () => expect((await runOf(id))?.state).toBe(state), { timeout: 15_000, interval: 50 });

beforeAll(async () => {
  installRuntime(pino({ level: 'fatal' }), 'warn');
  database = await freshDatabase();
  dataDir = await mkdtemp(join(tmpdir(), 'bulkhead-control-'));
  door = openTenantDoor({ url: database.appUrl, poolMax: 8, onError: () => undefined });
  keyRing = createKeyRing({
    masterKeyPath: inject('servers').keys.master,
    loadTenantKey: tenantKeys(door),
  });
  control = await startMain('control', dataDir, configOf(inject('servers').temporal.address));
});
afterAll(async () => {
  await stopServing();
  for (const cleanup of cleanups) await cleanup();
  await closeFleetThreads();
  await control.kill();
  await door.close();
  await database.drop();
  await rm(dataDir, { recursive: true });
});

describe('a new tenant', () => {
  it('is active within seconds, with a namespace and private tokens for it alone', async () => {
    await registerHost();
    await newTenant(ACME);
    await vi.waitFor(
      async () =>
        expect(await database.asOwner('SELECT status FROM tenants')).toEqual([{ status: 'active' }]),
      { timeout: 30_000 },
    );
    const folder = join(dataDir, 'tokens', 'hosts', HOST);
    expect((await stat(join(folder, `${ACME}.write.jwt`))).mode & 0o777).toBe(0o600);
    const token = await createFileTokenSource({ dir: folder }).get(ACME, 'write');
    expect(JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())).toMatchObject({
      sub: `host:${HOST}`,
      permissions: [`tnt-${ACME}:write`],
    });
  });
});

describe('an accepted run', () => {
  it('is started, watched to its end, and its result and times are stored', async () => {
    stopServing = await serve(line);
    const id = await accept('first');
    await until(id, 'completed');
    const run = await runOf(id);
    expect(run).toMatchObject({ startedAt: expect.any(Date) as Date });
    expect(await openSealed(keyRing, ACME, run?.result)).toMatchObject({ segments: 2 });
    // the only values of ours that Temporal indexes, and cannot hold encrypted: two ids
    const client = openTenantClient(admin(), ACME, { codec: createCarrierCodec(ACME) });
    const { raw } = await client.workflow.getHandle(id).describe();
    const indexed = raw.workflowExecutionInfo?.searchAttributes?.indexedFields ?? {};
    const shown = Object.entries(indexed).map(([name, { data }]) => [
      name,
      Buffer.from(data ?? []).toString(),
    ]);
    expect(Object.fromEntries(shown)).toMatchObject({
      BulkheadAgent: `["${AGENT}"]`,
      BulkheadWorkspace: '["main"]',
    });
    const ours = shown.filter(([name]) => !['BuildIds', 'TemporalChangeVersion'].includes(String(name)));
    expect(ours).toHaveLength(2);
    expect(line.effects).toHaveLength(2);
  });

  it('that was ordered twice is one workflow', async () => {
    const id = await accept('twice');
    await until(id, 'completed');
    await database.asOwner('UPDATE outbox SET delivered_at = NULL, due_at = now() WHERE run_id = $1', [id]);
    await vi.waitFor(
      async () =>
        expect(
          await database.asOwner('SELECT 1 FROM outbox WHERE run_id = $1 AND delivered_at IS NOT NULL', [id]),
        ).toHaveLength(1),
      { timeout: 10_000 },
    );
    expect((await runOf(id))?.state).toBe('completed');
  });

  it('that somebody terminates from outside is shown as cancelled, with a sentence', async () => {
    const id = await accept('terminated', { ticketId: 'T-1', segments: 1_000 });
    await until(id, 'running');
    await openTenantClient(admin(), ACME, { codec: createCarrierCodec(ACME) })
      .workflow.getHandle(id)
      .terminate('test');
    await until(id, 'cancelled');
    expect((await runOf(id))?.reason).toMatchObject({
      message: expect.stringContaining('terminated') as string,
    });
  });

  it('that is reset after its end is shown as running again, and ends again', async () => {
    const id = await accept('reset');
    await until(id, 'completed');
    // nobody serves it for a while, as a run that is reset to be watched takes its time
    await stopServing();
    await resetToFirstTask(admin(), ACME, id);
    await until(id, 'running');
    expect((await runOf(id))?.finishedAt).toBeUndefined();
    stopServing = await serve(line);
    await until(id, 'completed');
    expect(line.effects.filter(({ envelope }) => envelope.runId === id)).toHaveLength(2);
  });
});

it('an accepted run survives that Temporal is away: it stays accepted and starts when Temporal is back', async () => {
  await control.stop();
  control = await startMain('control', dataDir, configOf('127.0.0.1:1'));
  const id = await accept('outage');
  await vi.waitFor(
    async () =>
      expect(
        await database.asOwner(
          'SELECT 1 FROM outbox WHERE run_id = $1 AND attempts > 0 AND last_error IS NOT NULL',
          [id],
        ),
      ).toHaveLength(1),
    { timeout: 15_000 },
  );
  expect((await runOf(id))?.state).toBe('accepted');
  await control.kill();
  control = await startMain('control', dataDir, configOf(inject('servers').temporal.address));
  await until(id, 'completed');
});

it('what a person asks of a run while Temporal is away is shown as pending, and done when Temporal is back', async () => {
  const id = await accept('asked while away', { ticketId: 'T-1', segments: 1_000 });
  await until(id, 'running');
  await control.stop();
  control = await startMain('control', dataDir, configOf('127.0.0.1:1'));
  const db = door.tenant(ACME);
  const order = { runId: id, action: { kind: 'cancel' }, reason: 'stop', actor: 'key:test0000' } as const;
  await requestRun(db, order, { sealArguments: sealArgumentsWith(keyRing) });
  await vi.waitFor(
    async () =>
      expect(
        await database.asOwner(
          "SELECT 1 FROM outbox WHERE run_id = $1 AND kind = 'cancel' AND attempts > 0",
          [id],
        ),
      ).toHaveLength(1),
    { timeout: 15_000 },
  );
  expect(await listRunRequests(db, id)).toMatchObject([{ kind: 'cancel', doneAt: undefined }]);
  await control.kill();
  control = await startMain('control', dataDir, configOf(inject('servers').temporal.address));
  await until(id, 'cancelled');
  expect(await listRunRequests(db, id)).toMatchObject([
    { doneAt: expect.any(Date) as Date, failure: undefined },
  ]);
});

it('a silent host is fenced, one that beats is not', async () => {
  await database.asOwner("INSERT INTO hosts (id) VALUES ('silent'), ('alive')");
  const beating = setInterval(() => void door.host('host_beat', 'alive'), 1_000);
  try {
    await vi.waitFor(
      async () =>
        expect(await database.asOwner('SELECT id FROM hosts WHERE fenced')).toEqual([{ id: 'silent' }]),
      { timeout: 15_000 },
    );
  } finally {
    clearInterval(beating);
  }
});

it('SIGTERM ends it cleanly', async () => {
  expect(await control.stop()).toBe(0);
});

/** The control process's own power, for what an operator would do from outside. */
function admin() {
  const { temporal, keys } = inject('servers');
  const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 600 });
  const connection = openConnection({ address: temporal.address, token: () => minter.system('admin') });
  cleanups.push(() => connection.close());
  return connection;
}
