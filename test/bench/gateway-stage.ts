import { randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentId, tenantId, toolId } from '@bulkhead/contract';
import type { CallAnswer, Envelope, TenantId } from '@bulkhead/contract';
import { createSealer } from '@bulkhead/journal/control';
import { createJournal } from '@bulkhead/journal/line';
import { createPolicy } from '@bulkhead/policy/line';
import { openControlDoor } from '@bulkhead/prisma/control';
import { ensureLogins, migrate } from '@bulkhead/prisma/migrate';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createAcceptRun } from '@bulkhead/runs/admin';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { createEnvelopeSigner, createEnvelopeVerifier } from '@bulkhead/runtime/envelope';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createSecretBroker } from '@bulkhead/secret-broker/line';
import type { SecretBroker } from '@bulkhead/secret-broker/line';
import { createTenant } from '@bulkhead/tenancy/admin';
import {
  createInFlight,
  createToolGateway,
  createToolMatcher,
  createToolState,
} from '@bulkhead/tool-gateway/line';
import { ensureKeys, startPostgres } from '@bulkhead/tools/stack';
import { fillJournal, prepare } from './governed-tenant.ts';

/** A host's gateway on a durable PostgreSQL of its own, with the sealer running, under B1's conditions; no Temporal, no HTTP. */
export interface GatewayStage {
  readonly tenantId: TenantId;
  readonly ownerUrl: string;
  readonly broker: SecretBroker;
  /** One governed call: its tool answers 8 KiB at once. */
  call(n: number): Promise<CallAnswer>;
  /** Milliseconds that calls have waited for the database since the last time this was asked. */
  databaseMs(): number;
  close(): Promise<void>;
}

const TOOL = toolId('helpdesk.ticket.update');
const ANSWER = { id: 'T-1', text: 'x'.repeat(8 * 1024 - 24) };

export async function openGatewayStage(progress: (line: string) => void): Promise<GatewayStage> {
  const dataDir = await mkdtemp(join(tmpdir(), 'gateway-stage-'));
  const undo: (() => unknown)[] = [() => rm(dataDir, { recursive: true, force: true })];
  const close = async (): Promise<void> => {
    for (const step of undo.toReversed()) await step();
  };
  try {
    return await open(dataDir, undo, close, progress);
  } catch (error) {
    await close();
    throw error;
  }
}

async function open(
  dataDir: string,
  undo: (() => unknown)[],
  close: () => Promise<void>,
  progress: (line: string) => void,
): Promise<GatewayStage> {
  const keys = await ensureKeys(join(dataDir, 'keys'));
  const postgres = await startPostgres({
    dataDir: join(dataDir, 'postgres'),
    log: progress,
    onExit: (name, code, lines) => progress(`${name} ended (${code}): ${lines}`),
  });
  undo.push(() => postgres.stop());
  const secretIn = async (file: string): Promise<string> => (await readFile(file, 'utf8')).trim();
  const url = (user: string, password: string): string =>
    `postgresql://${user}:${encodeURIComponent(password)}@${postgres.host}:${postgres.port}/bulkhead`;
  const ownerUrl = url(postgres.superuser, await secretIn(postgres.passwordFile));
  await migrate(ownerUrl);
  const [appPassword, controlPassword] = [
    await secretIn(keys.appPassword),
    await secretIn(keys.controlPassword),
  ];
  await ensureLogins(ownerUrl, { appPassword, controlPassword });
  const onError = (error: Error): void => progress(error.message);

  const door = openTenantDoor({ url: url('bulkhead_app', appPassword), poolMax: 16, onError });
  undo.push(() => door.close());
  const keyRing = createKeyRing({ masterKeyPath: keys.master, loadTenantKey: tenantKeys(door) });
  const tenant = tenantId('bench');
  const db = door.tenant(tenant);
  await createTenant(db, keyRing, { name: tenant });
  await prepare(db, keyRing, 'http://127.0.0.1:9/tickets/T-1');
  await fillJournal(ownerUrl, tenant);
  const control = openControlDoor({ url: url('bulkhead_control', controlPassword), poolMax: 4, onError });
  undo.push(() => control.close());
  await control.query("UPDATE tenants SET status = 'active'");
  const stop = new AbortController();
  const sealing = createSealer({ control, onError: (error) => progress(String(error)) }).run(stop.signal);
  undo.push(() => (stop.abort(), sealing));

  const signer = createEnvelopeSigner(keys.envelopeSigning);
  const ulid = (): string => newUlid(Date.now());
  const accept = createAcceptRun({
    signEnvelope: (envelope) => signer.sign(envelope),
    sealArguments: sealArgumentsWith(keyRing),
    newUlid: ulid,
    now: () => new Date(),
  });
  const { runId } = await accept(db, {
    agentId: agentId('chain'),
    idempotencyKey: 'k',
    actor: 'key:bench',
    input: {},
  });
  const [run] = await control.query<{ envelope: string }>('SELECT envelope FROM runs WHERE id = $1', [runId]);
  const envelope = createEnvelopeVerifier(keys.envelopePublic).verify(run?.envelope);

  const clock = timed(door);
  const broker = createSecretBroker({ door: clock.door, keyRing, newUlid: ulid });
  const host = `host-${randomUUID()}`;
  await door.host('host_register', host);
  const grant = await broker.secretBroker(envelope, { toolId: TOOL });
  if (grant.kind !== 'grant') throw new Error(`the broker answered ${grant.kind}`);
  const gateway = createToolGateway({
    inFlight: createInFlight(),
    matcher: createToolMatcher(clock.door),
    policy: createPolicy({ door: clock.door }),
    journal: createJournal({ door: clock.door, stop: stop.signal }),
    broker,
    toolState: createToolState(clock.door),
    adapters: { http: answers, mcp: answers, model: answers },
    keyRing,
    newUlid: ulid,
    stillMine: () => true,
  });
  return {
    tenantId: tenant,
    ownerUrl,
    broker,
    databaseMs: clock.takeMs,
    async call(n) {
      const request = {
        toolId: TOOL,
        args: { ticketId: 'T-1', answer: `part ${n}` },
        segment: 0,
        n,
        grantId: grant.grantId,
      };
      const answer = await gateway(envelope as Envelope, request, {
        workflowId: runId,
        temporalRunId: runId,
        attempt: 1,
        onExpensiveQueue: false,
        host,
        token: randomUUID(),
        signal: stop.signal,
        heartbeat: () => undefined,
      });
      if (answer.kind !== 'ok') throw new Error(`the call ended as ${JSON.stringify(answer).slice(0, 300)}`);
      return answer;
    },
    close,
  };
}

const answers = async () => ({ kind: 'answered', outcome: 'ok', value: ANSWER }) as const;

/** The same door, which adds up how long its callers wait. */
function timed(door: TenantDoor): { readonly door: Pick<TenantDoor, 'tenant'>; takeMs(): number } {
  let waitedMs = 0;
  const clocked = async <T>(work: Promise<T>): Promise<T> => {
    const from = performance.now();
    try {
      return await work;
    } finally {
      waitedMs += performance.now() - from;
    }
  };
  return {
    door: {
      tenant(id) {
        const db = door.tenant(id);
        return {
          tenantId: db.tenantId,
          run: (work) => clocked(db.run(work)),
          change: (work) => clocked(db.change(work)),
          read: (statement, values) => clocked(db.read(statement, values)),
          call: (...given) => clocked(db.call(...given)),
        };
      },
    },
    takeMs() {
      const taken = waitedMs;
      waitedMs = 0;
      return taken;
    },
  };
}
