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

/** A chain's events. */
export interface Times {
  /** Milliseconds on the server's clock. */
  readonly started: number;
  readonly scheduled: number[];
  readonly completed: number[];
}

/** Waits for the chain's end and reads its times from its history. */
export async function timesOf(world: BenchWorld, name: ArmName, workflowId: string): Promise<Times> {
  const tenant: TenantId = name === 'bare' ? world.bare.tenant : world.governed;
  const client = world.client(tenant);
  const handle = client.workflow.getHandle(workflowId);
  await whenStarted(world, tenant, workflowId);
  await handle.result();
  const { events } = await handle.fetchHistory();
  const at = (time: { seconds?: unknown; nanos?: number | null } | null | undefined): number =>
    Number(time?.seconds ?? 0) * 1000 + (time?.nanos ?? 0) / 1e6;
  const times = (
    kind: 'activityTaskScheduledEventAttributes' | 'activityTaskCompletedEventAttributes',
  ): number[] => (events ?? []).filter((event) => event[kind]).map((event) => at(event.eventTime));
  return {
    started: at(events?.[0]?.eventTime),
    scheduled: times('activityTaskScheduledEventAttributes'),
    completed: times('activityTaskCompletedEventAttributes'),
  };
}

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
