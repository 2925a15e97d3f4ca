import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { agentId, tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { ensureLogins, migrate } from '@bulkhead/prisma/migrate';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { createAcceptRun } from '@bulkhead/runs/admin';
import { openConnection, openTenantClient } from '@bulkhead/runtime/client';
import { createTenantCodec, sealArgumentsWith, workerConverterOf } from '@bulkhead/runtime/codec';
import { createEnvelopeSigner } from '@bulkhead/runtime/envelope';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createTenant, getTenant } from '@bulkhead/tenancy/admin';
import { Child, resolveServer, startTemporal } from '@bulkhead/temporal-server';
import { ensureKeys, startPostgres, startProcess, writeConfigFiles } from '@bulkhead/tools/stack';
import { lifecycleBundlePath, workflowBundlePath } from '@bulkhead/workflows/bundle';
import { bundleWorkflowCode } from '@temporalio/worker';
import type { Client, Connection } from '@temporalio/client';
import { fillJournal, prepare } from './governed-tenant.ts';

/** What the figures run on: durable PostgreSQL, the built Temporal server, control and host as in production. */
export interface BenchWorld {
  readonly governed: TenantId;
  readonly bare: { readonly tenant: TenantId; readonly taskQueue: string };
  readonly toolUrl: string;
  readonly connection: (tenant: TenantId) => Connection;
  /** A client of the tenant's namespace, with its key. */
  readonly client: (tenant: TenantId) => Client;
  /** Accepts a governed chain of `calls` calls and returns its workflow id. */
  startGoverned(calls: number): Promise<string>;
  close(): Promise<void>;
}

const HERE = fileURLToPath(new URL('.', import.meta.url));

/** @param stop ends the start; what had been started by then is stopped before this throws its reason. */
export async function openBenchWorld(
  dataDir: string,
  log: (line: string) => void,
  stop: AbortSignal,
): Promise<BenchWorld> {
  const undo: (() => Promise<void>)[] = [() => rm(dataDir, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (const step of undo.toReversed()) await step();
  };
  try {
    return await open(dataDir, log, undo, close, stop);
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(
  dataDir: string,
  log: (line: string) => void,
  undo: (() => Promise<void>)[],
  close: () => Promise<void>,
  stop: AbortSignal,
): Promise<BenchWorld> {
  const onExit = (name: string, code: number | null, lines: string): void =>
    log(`${name} ended (${code}): ${lines}`);
  const keys = await ensureKeys(join(dataDir, 'keys'));
  const binaries = await resolveServer({ allowDevServer: false, log });
  const postgres = await startPostgres({ dataDir: join(dataDir, 'postgres'), log, onExit });
  undo.push(() => postgres.stop());
  stop.throwIfAborted();
  const temporal = await startTemporal({
    binaries,
    dataDir: join(dataDir, 'temporal'),
    postgres,
    jwksPath: keys.temporalJwks,
    log,
    onExit,
  });
  undo.push(() => temporal.stop());
  stop.throwIfAborted();
  const password = (await readFile(postgres.passwordFile, 'utf8')).trim();
  const ownerUrl = `postgresql://${postgres.superuser}:${password}@${postgres.host}:${postgres.port}/bulkhead`;
  await migrate(ownerUrl);
  const read = async (file: string): Promise<string> => (await readFile(file, 'utf8')).trim();
  await ensureLogins(ownerUrl, {
    appPassword: await read(keys.appPassword),
    controlPassword: await read(keys.controlPassword),
  });
  const configs = await writeConfigFiles({
    dataDir,
    keys,
    ownerUrl,
    temporal: { address: temporal.address, enforcesTokens: true },
    api: { host: '127.0.0.1', port: 0, publicUrl: 'http://127.0.0.1', graphiql: false, introspection: false },
    host: { bundlePath: workflowBundlePath(), mcpServers: {}, egress: ['127.0.0.0/8'] },
    control: { bundlePath: lifecycleBundlePath() },
    logLevel: 'warn',
  });

  const echo = await node(dataDir, 'echo-server', [], onExit);
  undo.push(() => echo.child.stop());
  stop.throwIfAborted();
  const { address } = echo.ready as { address: { port: number } };
  const toolUrl = `http://127.0.0.1:${address.port}/tickets/T-1`;

  const { database } = JSON.parse(await readFile(configs.host, 'utf8')) as { database: { url: string } };
  const door = openTenantDoor({ url: database.url, poolMax: 4, onError: () => undefined }); // a broken call throws itself
  undo.push(() => door.close());
  const keyRing = createKeyRing({ masterKeyPath: keys.master, loadTenantKey: tenantKeys(door) });
  const governed = tenantId('bench-governed');
  const bare = tenantId('bench-bare');
  for (const id of [governed, bare]) await createTenant(door.tenant(id), keyRing, { name: id });
  await prepare(door.tenant(governed), keyRing, toolUrl);
  await fillJournal(ownerUrl, governed);

  const logs = join(dataDir, 'logs');
  const control = await startProcess({ name: 'control', logs, configFile: configs.control, onExit });
  undo.push(() => control.stop());
  stop.throwIfAborted();
  const host = await startProcess({ name: 'host', logs, configFile: configs.host, onExit });
  undo.push(() => host.stop());
  stop.throwIfAborted();
  for (const id of [governed, bare]) await active(door.tenant(id));

  const taskQueue = 'bench-bare.queue';
  const bundle = join(dataDir, 'bare-bundle.js');
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(HERE, 'arms', 'bare-workflow.ts'),
    failureConverterPath: workerConverterOf(createTenantCodec(bare, keyRing)).failureConverterPath,
    logger: quiet,
  });
  await writeFile(bundle, code);
  const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 3600 });
  const token = join(dataDir, 'bare.jwt');
  await writeFile(token, minter.tenant(bare, 'write'), { mode: 0o600 });
  const worker = await node(
    dataDir,
    'bare-worker',
    [temporal.address, bare, taskQueue, token, bundle, configs.host],
    onExit,
  );
  undo.push(() => worker.child.stop());
  stop.throwIfAborted();

  const signer = createEnvelopeSigner(keys.envelopeSigning);
  const acceptRun = createAcceptRun({
    signEnvelope: (envelope) => signer.sign(envelope),
    sealArguments: sealArgumentsWith(keyRing),
    newUlid: () => newUlid(Date.now()),
    now: () => new Date(),
  });
  const connections = new Map<TenantId, Connection>();
  undo.push(async () => {
    for (const connection of connections.values()) await connection.close();
  });
  const connectionOf: BenchWorld['connection'] = (tenant) => {
    const known =
      connections.get(tenant) ??
      openConnection({ address: temporal.address, token: () => minter.tenant(tenant, 'write') });
    connections.set(tenant, known);
    return known;
  };
  return {
    governed,
    bare: { tenant: bare, taskQueue },
    toolUrl,
    connection: connectionOf,
    client: (tenant) =>
      openTenantClient(connectionOf(tenant), tenant, { codec: createTenantCodec(tenant, keyRing) }),
    async startGoverned(calls) {
      const request = { agentId: agentId('chain'), idempotencyKey: newUlid(Date.now()), actor: 'key:bench' };
      const input = { ticketId: 'T-1', segments: 1, callsPerSegment: calls };
      return (await acceptRun(door.tenant(governed), { ...request, input })).runId;
    },
    close,
  };
}

const quiet = { log() {}, trace() {}, debug() {}, info() {}, warn() {}, error() {} };

async function node(
  dataDir: string,
  name: string,
  args: readonly string[],
  onExit: (name: string, code: number | null, lines: string) => void,
): Promise<{ child: Child; ready: unknown }> {
  const child = await Child.start({
    name,
    command: process.execPath,
    args: [join(HERE, 'arms', `${name}.ts`), ...args],
    logFile: join(dataDir, 'logs', `${name}.log`),
    ipc: true,
    onExit,
  });
  return { child, ready: await child.ready(30_000) };
}

/** The control process registers the namespace; nobody tells us when, so this asks. */
async function active(db: TenantDb): Promise<void> {
  for (const until = Date.now() + 30_000; Date.now() < until;) {
    if ((await getTenant(db)).status === 'active') return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${db.tenantId} did not become active`);
}
