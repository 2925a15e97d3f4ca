import { expect, inject, vi } from 'vitest';
import type { Connection } from '@temporalio/client';
import type { RunId, TenantId } from '@bulkhead/contract';
import { listJournal } from '@bulkhead/journal/admin';
import { listRunRequests, requestRun } from '@bulkhead/runs/admin';
import type { RunAction, RunRequestView } from '@bulkhead/runs/admin';
import { openConnection } from '@bulkhead/runtime/client';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { makeDemoTenant } from './demo-tenant.js';
import { openHostWorld } from './host-world.js';
import type { HostWorld } from './host-world.js';
import type { RunningMain } from './processes.js';

/** Both mains as processes, the real servers, the demo's helpdesk that counts what it changed, and two tenants. */
export interface ControlledRuns {
  readonly world: HostWorld;
  /** Its writes are done at once. */
  readonly acme: TenantId;
  /** Its writes wait for a person. */
  readonly globex: TenantId;
  /** As the API does for `key:oncall00`, because `the ticket was closed`. */
  ask(
    tenant: TenantId,
    runId: string,
    action: RunAction,
    idempotencyKey?: string,
  ): Promise<{ created: boolean }>;
  requestsOf(tenant: TenantId, id: RunId): Promise<readonly RunRequestView[]>;
  /** The control records of a run's journal, e.g. `run_cancel done`. */
  changesOf(tenant: TenantId, id: RunId): Promise<readonly string[]>;
  effectsOf(id: RunId): Promise<{ state: string; outcome: string | null }[]>;
  /** A run of acme that goes on for long. */
  long(): Promise<RunId>;
  underWay(id: RunId): Promise<void>;
  /** A run of globex that waits for an approval. */
  waiting(): Promise<RunId>;
  /** The control process's own power, for what an operator would do from outside. */
  admin(): Connection;
  stopHost(): Promise<void>;
  startHost(): Promise<void>;
  close(): Promise<void>;
}

/** @param delayMs how long a change at the helpdesk takes */
export async function openControlledRuns(delayMs: number): Promise<ControlledRuns> {
  const world = await openHostWorld({ delayMs });
  let host: RunningMain = await world.startHost();
  const tenantLike = (like: 'acme' | 'globex'): Promise<TenantId> =>
    makeDemoTenant(world.door, world.keyRing, world.services, { like });
  const [acme, globex] = [await tenantLike('acme'), await tenantLike('globex')];
  const { temporal, keys } = inject('servers');
  const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 3_600 });
  const admin = openConnection({ address: temporal.address, token: () => minter.system('admin') });
  const effectsOf: ControlledRuns['effectsOf'] = (id) =>
    world.database.asOwner('SELECT state, outcome FROM effects WHERE run_id = $1', [id]);
  return {
    world,
    acme,
    globex,
    effectsOf,
    ask: (tenant, runId, action, idempotencyKey) =>
      requestRun(
        world.door.tenant(tenant),
        { runId, action, reason: 'the ticket was closed', actor: 'key:oncall00', idempotencyKey },
        { sealArguments: sealArgumentsWith(world.keyRing) },
      ),
    requestsOf: (tenant, id) => listRunRequests(world.door.tenant(tenant), id),
    changesOf: async (tenant, id) =>
      (await listJournal(world.door.tenant(tenant), id))
        .map(({ body }) => body as { change?: string; state: string })
        .filter(({ change }) => change !== undefined)
        .map(({ change, state }) => `${change} ${state}`),
    long: () => world.accept(acme, 'long-chain', { ticketId: 'T-1001', segments: 500 }),
    underWay: (id) => vi.waitFor(async () => expect((await effectsOf(id)).length).toBeGreaterThan(0), 15_000),
    async waiting() {
      const id = await world.accept(globex, 'support-triage', { ticketId: 'T-1001' });
      await world.until(globex, id, 'approval_required');
      return id;
    },
    admin: () => admin,
    stopHost: async () => void (await host.stop()),
    startHost: async () => void (host = await world.startHost()),
    async close() {
      await admin.close();
      await host.stop();
      await world.close();
    },
  };
}
