import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, inject, vi } from 'vitest';
import { agentId } from '@bulkhead/contract';
import type { Json, RunId, RunState, TenantId } from '@bulkhead/contract';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createAcceptRun, findRun } from '@bulkhead/runs/admin';
import { openSealed, sealArgumentsWith } from '@bulkhead/runtime/codec';
import { createEnvelopeSigner } from '@bulkhead/runtime/envelope';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { newUlid } from '@bulkhead/runtime/ulid';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';
import { hostMcpServers } from '../../tools/src/processes.js';
import { controlFolders, controlKeys } from './control-keys.js';
import { freshDatabase } from './database.js';
import type { TestDatabase } from './database.js';
import { startDemoServices } from './demo-tenant.js';
import type { DemoServices } from './demo-tenant.js';
import type { KillableServers } from './killable-servers.js';
import { startMain } from './processes.js';
import type { RunningMain } from './processes.js';

/** Both mains as processes, real servers, real MCP server, the demo's helpdesk and scripted model. Nothing is faked. */
export interface HostWorld {
  readonly database: TestDatabase;
  readonly door: TenantDoor;
  readonly keyRing: KeyRing;
  readonly services: DemoServices;
  readonly dataDir: string;
  readonly control: RunningMain;
  /** Another one, for when the first has been killed. */
  startControl(): Promise<RunningMain>;
  /** @param masterKey path of a master key of its own, with the same bytes */
  startHost(masterKey?: string): Promise<RunningMain>;
  startApi(): Promise<RunningMain>;
  /** Accepts a run as the API would. */
  accept(tenantId: TenantId, agent: string, input: Json): Promise<RunId>;
  /** The run as the API shows it: its result opened. */
  runOf(tenantId: TenantId, id: RunId): Promise<{ state: RunState; result: Json } | undefined>;
  until(tenantId: TenantId, id: RunId, state: string, timeoutMs?: number): Promise<void>;
  close(): Promise<void>;
}

/** Starts the control process and the demo's services; hosts are the test's to start and stop. */
export async function openHostWorld(options: {
  readonly delayMs: number;
  readonly maxCachedWorkflows?: number;
  readonly tokenTtlSeconds?: number;
  /** Instead of those that the tests share; they are closed with the world. */
  readonly servers?: KillableServers;
}): Promise<HostWorld> {
  const { keys, temporal } = options.servers ?? inject('servers');
  const database = options.servers?.database ?? (await freshDatabase());
  const dataDir = await mkdtemp(join(tmpdir(), 'bulkhead-host-'));
  const door = openTenantDoor({ url: database.appUrl, poolMax: 8, onError: () => undefined });
  const keyRing = createKeyRing({ masterKeyPath: keys.master, loadTenantKey: tenantKeys(door) });
  const services = await startDemoServices({ delayMs: options.delayMs });
  const server = {
    address: temporal.address,
    enforcesTokens: true,
    tokensDir: join(dataDir, 'tokens'),
  };
  const controls: RunningMain[] = [];
  const startControl = async (): Promise<RunningMain> => {
    const main = await startMain('control', dataDir, controlConfig);
    controls.push(main);
    return main;
  };
  const controlConfig = {
    role: 'control',
    database: { url: database.controlUrl, poolMax: 8 },
    temporal: {
      ...server,
      ...(options.tokenTtlSeconds === undefined ? {} : { tokenTtlSeconds: options.tokenTtlSeconds }),
    },
    keys: controlKeys(dataDir, keys),
    control: controlFolders(dataDir),
    log: { level: 'info' },
  };
  const control = await startControl();
  const signer = createEnvelopeSigner(keys.envelopeSigning);
  const acceptRun = createAcceptRun({
    signEnvelope: (envelope) => signer.sign(envelope),
    sealArguments: sealArgumentsWith(keyRing),
    newUlid: () => newUlid(Date.now()),
    now: () => new Date(),
  });
  const runOf: HostWorld['runOf'] = async (tenantId, id) => {
    const run = await findRun(door.tenant(tenantId), id);
    if (!run) return undefined;
    const result = run.result === null ? null : await openSealed(keyRing, tenantId, run.result);
    return { state: run.state, result };
  };
  return {
    database,
    door,
    keyRing,
    services,
    dataDir,
    control,
    startControl,
    startHost: (masterKey = keys.master) =>
      startMain('host', dataDir, {
        role: 'host',
        database: { url: database.appUrl, poolMax: 8 },
        temporal: { ...server, tokensDir: join(dataDir, 'tokens', 'hosts') },
        keys: { master: masterKey, envelopePublic: keys.envelopePublic },
        host: {
          bundlePath: workflowBundlePath(),
          dataDir: join(dataDir, 'host'),
          mcpServers: hostMcpServers(),
          egress: { allow: ['127.0.0.0/8'] },
          ...(options.maxCachedWorkflows === undefined
            ? {}
            : { maxCachedWorkflows: options.maxCachedWorkflows }),
        },
        log: { level: 'debug' },
      }),
    startApi: () =>
      startMain('api', dataDir, {
        role: 'api',
        database: { url: database.appUrl, controlUrl: database.controlUrl, poolMax: 8 },
        temporal: { ...server, tokensDir: join(dataDir, 'tokens', 'api') },
        keys: { master: keys.master, envelopeSigning: keys.envelopeSigning },
        api: { host: '127.0.0.1', port: 0, publicUrl: 'http://bulkhead.test' },
        log: { level: 'info' },
      }),
    async accept(tenantId, agent, input) {
      const request = {
        agentId: agentId(agent),
        idempotencyKey: newUlid(Date.now()),
        input,
        actor: 'key:operator',
      };
      return (await acceptRun(door.tenant(tenantId), request)).runId;
    },
    runOf,
    until: (tenantId, id, state, timeoutMs = 30_000) =>
      vi.waitFor(async () => expect((await runOf(tenantId, id))?.state).toBe(state), {
        timeout: timeoutMs,
        interval: 50,
      }),
    async close() {
      await Promise.all(controls.map((main) => main.stop()));
      await services.close();
      await door.close();
      await (options.servers ?? { close: database.drop }).close();
      await rm(dataDir, { recursive: true });
    },
  };
}
