import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { agentId, tenantId, workspaceId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { publishPolicy } from '@bulkhead/policy/admin';
import { ensureLogins, migrate } from '@bulkhead/prisma/migrate';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { setQuota } from '@bulkhead/quota/admin';
import { createAcceptRun } from '@bulkhead/runs/admin';
import { openConnection, openTenantClient } from '@bulkhead/runtime/client';
import { createTenantCodec, sealArgumentsWith, workerConverterOf } from '@bulkhead/runtime/codec';
import { createEnvelopeSigner } from '@bulkhead/runtime/envelope';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { newUlid } from '@bulkhead/runtime/ulid';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { createTenant, getTenant, putAgent } from '@bulkhead/tenancy/admin';
import { Child, resolveServer, startTemporal } from '@bulkhead/temporal-server';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { ensureKeys, startPostgres, startProcess, writeConfigFiles } from '@bulkhead/tools/stack';
import { lifecycleBundlePath, workflowBundlePath } from '@bulkhead/workflows/bundle';
import { bundleWorkflowCode } from '@temporalio/worker';
import type { Client, Connection } from '@temporalio/client';
import pg from 'pg';

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

/** B1's conditions: 1,000 rules of which 20 are conditional on the tool, 100,000 journal records, a credential. */
const RULES = 1_000;
const CONDITIONAL_RULES = 20;
const JOURNAL_ROWS = 100_000;
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

async function prepare(
  db: TenantDb,
  keyRing: Parameters<typeof storeSecret>[1],
  toolUrl: string,
): Promise<void> {
  await storeSecret(db, keyRing, {
    name: 'helpdesk',
    access: 'mutate',
    boundHost: new URL(toolUrl).host,
    value: 'bench-credential-0123456789',
  });
  const text = { type: 'string' };
  await putTool(db, 'helpdesk.ticket.update', {
    adapter: 'http',
    method: 'PATCH',
    url: toolUrl.replace('T-1', '{ticketId}'),
    description: 'The call that both arms make.',
    effect: 'write',
    idempotency: 'keyed',
    inputSchema: {
      type: 'object',
      properties: { ticketId: text, answer: text },
      required: ['ticketId', 'answer'],
      additionalProperties: false,
    },
    credential: { secret: 'helpdesk', slot: { header: 'authorization', prefix: 'Bearer ' } },
  });
  const other = Array.from({ length: RULES - CONDITIONAL_RULES - 1 }, (_, i) => ({
    id: `other-${i}`,
    effect: 'allow',
    tools: [`system${i}.thing.do`],
  }));
  const conditional = Array.from({ length: CONDITIONAL_RULES }, (_, i) => ({
    id: `deny-${i}`,
    effect: 'deny',
    tools: ['helpdesk.ticket.update'],
    when: { 'args.answer': { eq: `forbidden ${i}` } },
  }));
  const rules = [
    ...other,
    ...conditional,
    { id: 'allow', effect: 'allow', tools: ['helpdesk.ticket.update'] },
  ];
  await publishPolicy(db, { profile: 'default', document: { rules }, publishedBy: 'bench', reason: 'B1' });
  await setQuota(db, 'tool_calls_per_day', 1_000_000);
  await putAgent(db, {
    id: agentId('chain'),
    workspaceId: workspaceId('main'),
    name: 'chain',
    description: 'B1',
    workflowType: 'longChain',
    inputSchema: { type: 'object' },
  });
}

/** Records of an earlier life: sealed, so that the sealer goes on from their head. */
async function fillJournal(ownerUrl: string, tenant: TenantId): Promise<void> {
  const owner = new pg.Client({ connectionString: ownerUrl });
  await owner.connect();
  await owner.query(
    `WITH head AS (UPDATE journal_heads SET seq = $2 WHERE tenant_id = $1)
     INSERT INTO journal_records (tenant_id, kind, run_id, key, body, seq, prev_hash, hash)
     SELECT $1, 'close', $1 || '.run.earlier-' || i / 10, md5(i::text), '{"outcome":"ok"}', i, sha256('p'), sha256(i::text::bytea)
       FROM generate_series(1, $2::bigint) AS i`,
    [tenant, JOURNAL_ROWS],
  );
  await owner.query('ANALYZE');
  await owner.end();
}

/** The control process registers the namespace; nobody tells us when, so this asks. */
async function active(db: TenantDb): Promise<void> {
  for (const until = Date.now() + 30_000; Date.now() < until;) {
    if ((await getTenant(db)).status === 'active') return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${db.tenantId} did not become active`);
}
