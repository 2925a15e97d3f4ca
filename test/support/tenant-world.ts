import { randomBytes } from 'node:crypto';
import { inject } from 'vitest';
import type { Client, Connection, WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import type { PayloadCodec } from '@temporalio/common';
import type { NativeConnection } from '@temporalio/worker';
import { agentId, buildRunId, tenantId as parseTenantId, workspaceId } from '@bulkhead/contract';
import type { AgentStart, Envelope, Json, RunId, SignedEnvelope, TenantId } from '@bulkhead/contract';
import { openConnection, openTenantClient } from '@bulkhead/runtime/client';
import { createEnvelopeSigner, createEnvelopeVerifier } from '@bulkhead/runtime/envelope';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { createTenantWorker, openWorkerConnection } from '@bulkhead/runtime/worker';
import type { GovernedActivities, OnRefusal, TenantWorker } from '@bulkhead/runtime/worker';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';
import { ensureNamespace } from '../../apps/worker/src/control/namespaces.js';
import { createTestKeys } from './payloads.js';
import type { TestKeys } from './payloads.js';

/** One tenant on the real Temporal server: its namespace, a Worker with the tenant's token, and its runs. */
export interface TenantWorld {
  readonly tenantId: TenantId;
  readonly connection: Connection;
  readonly keys: TestKeys;
  readonly codec: PayloadCodec;
  /** A client with the tenant's key. */
  client(envelope?: SignedEnvelope): Client;
  envelopeOf(runId: RunId, changes?: Partial<Envelope>): SignedEnvelope;
  newRunId(): RunId;
  /** Starts a workflow as the dispatcher does; `envelope` null leaves the header out. */
  start(
    workflowType: string,
    input: Json,
    options?: { runId?: RunId; envelope?: SignedEnvelope | null },
  ): Promise<WorkflowHandleWithFirstExecutionRunId>;
  close(): Promise<void>;
}

/** Token life in tests: far longer than any test. */
const minterOf = (signingKeyPath: string) => createTokenMinter({ signingKeyPath, ttlSeconds: 3_600 });

export async function openTenantWorld(
  activities: GovernedActivities,
  options: {
    maxCachedWorkflows?: number;
    prefix?: string;
    onRefusal?: OnRefusal;
    bundlePath?: string;
    keys?: TestKeys;
  } = {},
): Promise<TenantWorld> {
  const { temporal, keys } = inject('servers');
  const tenantId = parseTenantId(`${options.prefix ?? 't'}-${randomBytes(6).toString('hex')}`);
  const minter = minterOf(keys.temporalSigning);
  const connection = openConnection({ address: temporal.address, token: () => minter.system('admin') });
  await ensureNamespace(connection, tenantId);
  const signer = createEnvelopeSigner(keys.envelopeSigning);
  const native = await openWorkerConnection({
    address: temporal.address,
    token: minter.tenant(tenantId, 'write'),
  });
  const testKeys = options.keys ?? createTestKeys();
  const codec = testKeys.codecOf(tenantId);
  const client: TenantWorld['client'] = (envelope) =>
    openTenantClient(connection, tenantId, { codec, envelope });
  const worker = await createTenantWorker({
    tenantId,
    codec,
    connection: native,
    bundlePath: options.bundlePath ?? workflowBundlePath(),
    verifier: createEnvelopeVerifier(keys.envelopePublic),
    onRefusal: options.onRefusal ?? (() => undefined),
    activities,
    identity: 'test-host',
    maxCachedWorkflows: options.maxCachedWorkflows ?? 20,
    shutdownGraceMs: 1_000,
  });
  const running = worker.run();

  const issuedAt = Math.floor(Date.now() / 1000); // as acceptRun signs once, a run's envelope is one text
  const envelopeOf: TenantWorld['envelopeOf'] = (runId, changes = {}) =>
    signer.sign({
      v: 1,
      tenantId,
      workspaceId: workspaceId('main'),
      agentId: agentId('support-triage'),
      runId,
      policyProfile: 'default',
      quotaClass: 'standard',
      actor: 'key:test0000',
      issuedAt,
      ...changes,
    });
  const newRunId = (): RunId => buildRunId(tenantId, randomUlid());

  return {
    tenantId,
    connection,
    keys: testKeys,
    codec,
    client,
    envelopeOf,
    newRunId,
    start(workflowType, input, { runId = newRunId(), envelope = envelopeOf(runId) } = {}) {
      const args: [AgentStart] = [{ input, segment: 0 }];
      return client(envelope ?? undefined).workflow.start(workflowType, {
        workflowId: runId,
        taskQueue: `tnt-${tenantId}.agents`,
        args,
        workflowExecutionTimeout: '30s',
      });
    },
    close: () => closeWorld(worker, running, native, connection),
  };
}

async function closeWorld(
  worker: TenantWorker,
  running: Promise<void>,
  native: NativeConnection,
  connection: Connection,
): Promise<void> {
  if (worker.getState() === 'RUNNING') worker.shutdown();
  await running;
  await native.close();
  await connection.close();
}

const CROCKFORD = '0123456789abcdefghjkmnpqrstvwxyz';
const randomUlid = (): string => `0${Array.from(randomBytes(25), (byte) => CROCKFORD[byte % 32]).join('')}`;
