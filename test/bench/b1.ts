import { randomUUID } from 'node:crypto';
import { placementOf } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { openTenantClient } from '@bulkhead/runtime/client';
import { median, percentile, spread } from './stats.ts';
import type { Figure } from './stats.ts';
import type { BenchWorld } from './world.ts';

/**
 * B1: a governed call against a bare activity that makes the same HTTP request, one chain, alternating in one run.
 *
 * Both times come from the same clock, the server's: a chain makes one call after the other, so the distance between two
 * "activity scheduled" events of its history is one whole call, with everything between the author's two lines: the
 * server's dispatch, the activity, the workflow task. The first call is the distance from the start of the workflow to
 * the completion of its first activity; in the governed arm it includes the broker's local activity.
 */
export interface B1Options {
  readonly rounds: number;
  /** Calls of one chain. */
  readonly calls: number;
  /** Chains of one call, for the first call. */
  readonly firsts: number;
  readonly progress: (line: string) => void;
}

interface Arm {
  readonly p50: number;
  readonly p99: number;
  readonly first: number;
}

const BASELINE_DRIFT_MAX = 0.25;
const REPEATS_MAX = 4;

export async function b1(world: BenchWorld, options: B1Options): Promise<Figure[]> {
  const { progress } = options;
  progress('warming up');
  await arm(world, 'bare', { ...options, calls: 30, firsts: 2 });
  await arm(world, 'governed', { ...options, calls: 30, firsts: 2 });
  const rounds: { bare: Arm; governed: Arm }[] = [];
  let repeated = 0;
  while (rounds.length < options.rounds) {
    // the order alternates, so that neither arm always runs on the warmer machine
    const order = rounds.length % 2 === 0 ? (['bare', 'governed'] as const) : (['governed', 'bare'] as const);
    const round = {
      [order[0]]: await arm(world, order[0], options),
      [order[1]]: await arm(world, order[1], options),
    } as {
      bare: Arm;
      governed: Arm;
    };
    const usual = median([...rounds, round].map(({ bare }) => bare.p50));
    if (Math.abs(round.bare.p50 / usual - 1) > BASELINE_DRIFT_MAX && repeated < REPEATS_MAX) {
      repeated += 1;
      progress(
        `the baseline moved to ${round.bare.p50.toFixed(1)} ms from ${usual.toFixed(1)} ms: this round is repeated`,
      );
      continue;
    }
    rounds.push(round);
    progress(
      `round ${rounds.length} of ${options.rounds}: bare ${describe(round.bare)}, governed ${describe(round.governed)}`,
    );
  }
  const ratio = (of: (arm: Arm) => number): number[] =>
    rounds.map(({ bare, governed }) => of(governed) / of(bare));
  const ms = (name: 'bare' | 'governed', of: (arm: Arm) => number): string =>
    `${median(rounds.map((round) => of(round[name]))).toFixed(1)} ms`;
  const figure = (part: string, goal: number, of: (arm: Arm) => number): Figure => ({
    id: `B1 ${part}`,
    goal,
    ...spread(ratio(of)),
    note: `governed ${ms('governed', of)}, bare ${ms('bare', of)}`,
  });
  return [
    figure('p50', 1.08, ({ p50 }) => p50),
    figure('p99', 1.25, ({ p99 }) => p99),
    figure('first call', 1.3, ({ first }) => first),
  ];
}

const describe = ({ p50, p99, first }: Arm): string =>
  `p50 ${p50.toFixed(1)} p99 ${p99.toFixed(1)} first ${first.toFixed(1)} ms`;

async function arm(world: BenchWorld, name: 'bare' | 'governed', { calls, firsts }: B1Options): Promise<Arm> {
  const start = name === 'bare' ? startBare : startGoverned;
  const chain = await timesOf(world, name, await start(world, calls));
  const scheduled = chain.scheduled.slice(1).map((at, i) => at - (chain.scheduled[i] ?? at));
  const firstCalls: number[] = [];
  for (let i = 0; i < firsts; i += 1) {
    const { started, completed } = await timesOf(world, name, await start(world, 1));
    firstCalls.push((completed[0] ?? Number.NaN) - started);
  }
  return { p50: percentile(scheduled, 0.5), p99: percentile(scheduled, 0.99), first: median(firstCalls) };
}

const startGoverned = (world: BenchWorld, calls: number): Promise<string> => world.startGoverned(calls);

async function startBare(world: BenchWorld, calls: number): Promise<string> {
  const { tenant, taskQueue } = world.bare;
  const workflowId = `bare-${randomUUID()}`;
  const client = openTenantClient(world.connection(tenant), tenant);
  await client.workflow.start('bareChain', { workflowId, taskQueue, args: [world.toolUrl, calls] });
  return workflowId;
}

interface Times {
  /** Milliseconds on the server's clock. */
  readonly started: number;
  readonly scheduled: number[];
  readonly completed: number[];
}

async function timesOf(world: BenchWorld, name: 'bare' | 'governed', workflowId: string): Promise<Times> {
  const tenant: TenantId = name === 'bare' ? world.bare.tenant : world.governed;
  const client = openTenantClient(world.connection(tenant), tenant);
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
