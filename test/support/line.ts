import { createServer } from 'node:http';
import type { IncomingHttpHeaders, OutgoingHttpHeaders, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import { agentId, buildRunId, tenantId, toolId, workspaceId } from '@bulkhead/contract';
import type { CallAnswer, Envelope, Json, RunId, TenantId } from '@bulkhead/contract';
import type { PolicyMode } from '@bulkhead/contract/policy';
import { createJournal } from '@bulkhead/journal/line';
import type { Journal } from '@bulkhead/journal/line';
import { createPolicy } from '@bulkhead/policy/line';
import { publishPolicy } from '@bulkhead/policy/admin';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDb, TenantDoor } from '@bulkhead/prisma/tenant';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { createSecretBroker } from '@bulkhead/secret-broker/line';
import type { SecretBroker } from '@bulkhead/secret-broker/line';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { createTenant } from '@bulkhead/tenancy/admin';
import {
  createAdapters,
  createInFlight,
  createToolGateway,
  createToolMatcher,
  createToolState,
} from '@bulkhead/tool-gateway/line';
import type { GatewayContext, InFlight, ToolGateway } from '@bulkhead/tool-gateway/line';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { freshDatabase } from './database.js';
import type { TestDatabase } from './database.js';

/** The whole line without Temporal. Real: database, doors, keys, policy, broker, gateway, HTTP. Scripted: the tool's answers. */

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';
const newUlid = (): string =>
  Array.from({ length: 26 }, (_, i) => (i === 0 ? '0' : CROCKFORD[Math.floor(Math.random() * 32)])).join('');

interface ToolRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Json;
  /** Milliseconds of the epoch. */
  readonly at: number;
  /** When the exchange was over, by an answer or because the caller broke it off. */
  closedAt?: number;
}

/** A tool of our own on loopback: keeps every request, answers as `answer` says; 'hang' never answers, 'drop' breaks off. */
interface ScriptedTool {
  readonly url: string;
  readonly host: string;
  readonly requests: ToolRequest[];
  answer: (request: ToolRequest) => Json | 'hang' | 'drop' | Promise<Json>;
  /** Overrides `answer`: status and body as they go on the wire. */
  raw:
    | ((request: ToolRequest) => {
        readonly status: number;
        readonly headers?: OutgoingHttpHeaders;
        readonly body: string;
      })
    | undefined;
  close(): Promise<void>;
}

async function startTool(): Promise<ScriptedTool> {
  const requests: ToolRequest[] = [];
  const server: Server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
    incoming.on('end', async () => {
      const text = Buffer.concat(chunks).toString();
      const request: ToolRequest = {
        at: performance.timeOrigin + performance.now(),
        method: incoming.method ?? '',
        path: incoming.url ?? '',
        headers: incoming.headers,
        body: text === '' ? null : (JSON.parse(text) as Json),
      };
      requests.push(request);
      response.on('close', () => (request.closedAt = performance.timeOrigin + performance.now()));
      if (tool.raw) {
        const { status, headers, body } = tool.raw(request);
        return response.writeHead(status, headers).end(body);
      }
      const answer = await tool.answer(request);
      if (answer === 'drop') incoming.socket.destroy();
      else if (answer !== 'hang') response.end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const tool: ScriptedTool = {
    url: `http://${host}`,
    host,
    requests,
    answer: () => ({ done: true }),
    raw: undefined,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return tool;
}

export interface Host {
  readonly id: string;
  readonly gateway: ToolGateway;
  readonly inFlight: InFlight;
  call(envelope: Envelope, tool: string, args: Json, over?: CallOptions): Promise<CallAnswer>;
}
interface CallOptions extends Partial<GatewayContext> {
  readonly n?: number;
  readonly segment?: number;
  /** false: present no grant. */
  readonly grant?: boolean;
}

/** Parts of a host that a test breaks. */
interface FaultyParts {
  readonly door?: Pick<TenantDoor, 'tenant'>;
  readonly keyRing?: Pick<KeyRing, 'seal' | 'open'>;
  readonly broker?: Pick<SecretBroker, 'lease'>;
  /** Instead of what the journal answers to admit. */
  readonly admit?: () => ReturnType<Journal['admit']>;
  /** Where the policy is read from. */
  readonly policyDoor?: Pick<TenantDoor, 'tenant'>;
  /** How long reading it may take; longer than the product's own, because tests share a busy machine. */
  readonly policyDeadlineMs?: number;
}

export interface LineUnderTest {
  readonly database: TestDatabase;
  readonly door: TenantDoor;
  readonly control: ControlDb;
  readonly keyRing: KeyRing;
  readonly broker: SecretBroker;
  readonly tool: ScriptedTool;
  db(tenant: string): TenantDb;
  /** A new worker host; `fence` is what the control process does when its beat stands still. */
  newHost(faulty?: FaultyParts): Promise<Host>;
  fence(host: Host): Promise<void>;
  newRun(tenant: string): Promise<Envelope>;
  publish(tenant: string, rules: readonly Json[], mode?: PolicyMode): Promise<void>;
  close(): Promise<void>;
}

export const SECRET = 'sk-very/secret+value=42';
export const ALLOW_ALL: Json = { id: 'allow-all', effect: 'allow', tools: ['*'] };

export async function openLine(): Promise<LineUnderTest> {
  const database = await freshDatabase();
  const fail = (error: Error): void => {
    throw error;
  };
  const door = openTenantDoor({ url: database.appUrl, poolMax: 32, onError: fail });
  const control = openControlDoor({ url: database.controlUrl, poolMax: 4, onError: fail });
  const keyRing = createKeyRing({
    masterKeyPath: inject('servers').keys.master,
    loadTenantKey: (id, keyId) =>
      door.tenant(id).run(
        async (tx) =>
          (await tx.tenantKey.findFirst({
            where: keyId === undefined ? { state: 'active' } : { keyId },
          })) ?? undefined,
      ),
  });
  const stop = new AbortController();
  const broker = createSecretBroker({ door, keyRing, newUlid });
  const dataDir = mkdtempSync(join(tmpdir(), 'line-'));
  const { adapters, close: closeAdapters } = createAdapters({
    mcp: { servers: {}, dataDir, path: '' },
    egress: { allow: ['127.0.0.0/8'] },
  });
  const tool = await startTool();
  const db = (tenant: string): TenantDb => door.tenant(tenantId(tenant));
  for (const tenant of ['acme', 'globex']) await prepareTenant(db(tenant), keyRing, tool);
  await database.asOwner("UPDATE tenants SET status = 'active'");

  const newHost = async (faulty: FaultyParts = {}): Promise<Host> => {
    const id = `host-${randomUUID()}`;
    await door.host('host_register', id);
    const real = createJournal({ door: faulty.door ?? door, stop: stop.signal });
    const journal: Journal = faulty.admit ? { ...real, admit: faulty.admit } : real;
    const policy = createPolicy({
      door: faulty.policyDoor ?? door,
      deadlineMs: faulty.policyDeadlineMs ?? 30_000,
    });
    const matcher = createToolMatcher(door);
    const inFlight = createInFlight();
    const gateway = createToolGateway({
      inFlight,
      matcher,
      policy,
      journal,
      broker: faulty.broker ?? broker,
      toolState: createToolState(door),
      adapters,
      keyRing: faulty.keyRing ?? keyRing,
      newUlid,
      stillMine: () => true,
    });
    return {
      id,
      gateway,
      inFlight,
      call: (envelope, name, args, over = {}) => callTool(broker, gateway, id, envelope, name, args, over),
    };
  };

  return {
    database,
    door,
    control,
    keyRing,
    broker,
    tool,
    db,
    newHost,
    async fence(host) {
      await control.client.host.update({
        where: { id: host.id },
        data: { fenced: true },
        select: { id: true },
      });
    },
    async newRun(tenant) {
      // no sealer runs here, and on a slow machine a file takes longer than records may stay unsealed
      await database.asOwner(
        "UPDATE journal_records SET seq = -id WHERE seq IS NULL AND at BETWEEN now() - interval '25 seconds' AND now() - interval '5 seconds'",
      );
      return acceptRun(db(tenant));
    },
    async publish(tenant, rules, mode) {
      await publishPolicy(db(tenant), {
        profile: 'default',
        document: { rules, ...(mode === undefined ? {} : { mode }) },
        publishedBy: 'test',
        reason: 'test',
      });
    },
    async close() {
      stop.abort();
      await closeAdapters();
      rmSync(dataDir, { recursive: true });
      await tool.close();
      await door.close();
      await control.close();
      await database.drop();
    },
  };
}

async function callTool(
  broker: SecretBroker,
  gateway: ToolGateway,
  host: string,
  envelope: Envelope,
  name: string,
  args: Json,
  { n = 0, segment = 0, grant = true, ...context }: CallOptions,
): Promise<CallAnswer> {
  const id = toolId(name);
  const granted = grant ? await broker.secretBroker(envelope, { toolId: id }) : undefined;
  if (granted?.kind === 'denied') return granted;
  const request = {
    toolId: id,
    args,
    segment,
    n,
    ...(granted?.kind === 'grant' ? { grantId: granted.grantId } : {}),
  };
  return gateway(envelope, request, {
    workflowId: envelope.runId,
    temporalRunId: randomUUID(),
    onExpensiveQueue: granted?.expensive === true,
    attempt: 1,
    host,
    token: randomUUID(),
    signal: new AbortController().signal,
    heartbeat: () => undefined,
    ...context,
  });
}

async function prepareTenant(db: TenantDb, keyRing: KeyRing, tool: ScriptedTool): Promise<void> {
  await createTenant(db, keyRing, { name: db.tenantId });
  await storeSecret(db, keyRing, { name: 'desk', access: 'mutate', boundHost: tool.host, value: SECRET });
  const inputSchema: Json = {
    type: 'object',
    properties: { id: { type: 'string', maxLength: 64 }, text: { type: 'string', maxLength: 2_000 } },
    required: ['id'],
    additionalProperties: false,
  };
  const base = { adapter: 'http', description: 'x', inputSchema, url: `${tool.url}/things/{id}` } as const;
  const credential = { secret: 'desk', slot: { header: 'authorization', prefix: 'Bearer ' } } as const;
  await putTool(db, 'desk.read', {
    ...base,
    method: 'GET',
    effect: 'read',
    idempotency: 'natural',
    credential,
  });
  await putTool(db, 'desk.update', {
    ...base,
    method: 'PATCH',
    effect: 'write',
    idempotency: 'keyed',
    credential,
    timeoutMs: 2_000,
  });
  await putTool(db, 'desk.send', {
    ...base,
    method: 'POST',
    effect: 'irreversible',
    idempotency: 'none',
    credential,
    timeoutMs: 2_000,
  });
  await putTool(db, 'open.send', {
    ...base,
    method: 'POST',
    effect: 'irreversible',
    idempotency: 'none',
    timeoutMs: 2_000,
  });
  await publishPolicy(db, {
    profile: 'default',
    document: { rules: [ALLOW_ALL] },
    publishedBy: 'test',
    reason: 'test',
  });
}

async function acceptRun(db: TenantDb): Promise<Envelope> {
  const runId: RunId = buildRunId(db.tenantId, newUlid());
  const envelope = envelopeOf(db.tenantId, runId);
  await db.call('accept_run', {
    id: runId,
    workspaceId: 'main',
    agentId: 'tester',
    workflowType: 'none',
    idempotencyKey: runId,
    inputDigest: '00',
    input: {},
    envelope: 'none',
    actor: envelope.actor,
  });
  return envelope;
}

const envelopeOf = (tenant: TenantId, runId: RunId): Envelope => ({
  v: 1,
  tenantId: tenant,
  workspaceId: workspaceId('main'),
  agentId: agentId('tester'),
  runId,
  policyProfile: 'default',
  quotaClass: 'standard',
  actor: 'key:starter',
  issuedAt: 1,
});
