import { randomUUID } from 'node:crypto';
import { placementOf } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { BenchWorld } from './world.ts';

export type ArmName = 'bare' | 'governed';

/** Starts one chain of `calls` calls and returns its workflow id. */
export async function startChain(world: BenchWorld, name: ArmName, calls: number): Promise<string> {
  if (name === 'governed') return world.startGoverned(calls);
  const { tenant, taskQueue } = world.bare;
  const workflowId = `bare-${randomUUID()}`;
  const client = world.client(tenant);
  await client.workflow.start('bareChain', { workflowId, taskQueue, args: [world.toolUrl, calls] });
  return workflowId;
}

/** A chain's events, in milliseconds on the server's clock. */
export interface Times {
  readonly started: number;
  readonly ended: number;
  readonly scheduled: number[];
  readonly completed: number[];
}

/** Waits for the chain's end and reads its times from its history. */
export async function timesOf(world: BenchWorld, name: ArmName, workflowId: string): Promise<Times> {
  const tenant = tenantOf(world, name);
  await whenStarted(world, tenant, workflowId);
  await world.client(tenant).workflow.getHandle(workflowId).result();
  return historyOf(world, name, workflowId);
}

export async function historyOf(world: BenchWorld, name: ArmName, workflowId: string): Promise<Times> {
  const { events } = await world.client(tenantOf(world, name)).workflow.getHandle(workflowId).fetchHistory();
  const at = (time: { seconds?: unknown; nanos?: number | null } | null | undefined): number =>
    Number(time?.seconds ?? 0) * 1000 + (time?.nanos ?? 0) / 1e6;
  const times = (
    kind: 'activityTaskScheduledEventAttributes' | 'activityTaskCompletedEventAttributes',
  ): number[] => (events ?? []).filter((event) => event[kind]).map((event) => at(event.eventTime));
  return {
    started: at(events?.[0]?.eventTime),
    ended: at(events?.at(-1)?.eventTime),
    scheduled: times('activityTaskScheduledEventAttributes'),
    completed: times('activityTaskCompletedEventAttributes'),
  };
}

/** Events of a history up to and with the end of its first call; the governed one has the broker's marker besides. */
const FIRST_CALL_EVENTS = 8;

/** Returns when the chain has made a call. @throws Error when it does not within half a minute. */
export async function whenCalling(world: BenchWorld, name: ArmName, workflowId: string): Promise<void> {
  const tenant = tenantOf(world, name);
  await whenStarted(world, tenant, workflowId);
  const handle = world.client(tenant).workflow.getHandle(workflowId);
  for (const until = Date.now() + 30_000; Date.now() < until;) {
    if ((await handle.describe()).historyLength >= FIRST_CALL_EVENTS) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error(`${workflowId} made no call`);
}

/** Ends a chain from outside, wherever it is. */
export async function endChain(world: BenchWorld, name: ArmName, workflowId: string): Promise<void> {
  await world.client(tenantOf(world, name)).workflow.getHandle(workflowId).terminate('measured');
}

const tenantOf = (world: BenchWorld, name: ArmName): TenantId =>
  name === 'bare' ? world.bare.tenant : world.governed;

/** A governed run is accepted first and started by the control process; until then its workflow is unknown. */
async function whenStarted(world: BenchWorld, tenant: TenantId, workflowId: string): Promise<void> {
  const { workflowService } = world.connection(tenant);
  const request = { namespace: placementOf(tenant).namespace, execution: { workflowId } };
  for (const until = Date.now() + 15_000; ;) {
    try {
      await workflowService.describeWorkflowExecution(request);
      return;
    } catch (error) {
      const NOT_FOUND = 5;
      if ((error as { code?: number }).code !== NOT_FOUND || Date.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}
