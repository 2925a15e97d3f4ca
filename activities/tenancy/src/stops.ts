import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { BulkheadError, parseStopId } from '@bulkhead/contract';
import type { StopId } from '@bulkhead/contract';
import type { Prisma, TenantDb } from '@bulkhead/prisma/tenant';

export const STOP_SCOPES = ['tenant', 'agent', 'tool'] as const;
export type StopScope = (typeof STOP_SCOPES)[number];

/**
 * killed: nothing is called, and what is under way is broken off. paused: nothing is called, what is under way may end.
 * read_only and frozen: reads go on; frozen says that policy is not to be loosened meanwhile.
 */
export const STOP_STATES = ['killed', 'paused', 'read_only', 'frozen'] as const;
export type StopState = (typeof STOP_STATES)[number];

export interface StopOrder {
  /** A fresh one; the stop that is in force already keeps its own. */
  readonly id: StopId;
  readonly scope: StopScope;
  /** Agent or tool; '' for the whole tenant. */
  readonly target: string;
  readonly state: StopState;
  /** Also end every run that is covered. For a kill of the tenant or of an agent. */
  readonly end: boolean;
  /** Shown with each run that waits, and journalled. 1 to 1,000 characters. */
  readonly reason: string;
  readonly actor: string;
}

/** One kill, pause, read-only or freeze. */
export interface Stop {
  readonly id: string;
  readonly scope: StopScope;
  readonly target: string;
  readonly state: StopState;
  readonly end: boolean;
  readonly reason: string;
  readonly actor: string;
  readonly at: Date;
  readonly resumedAt: Date | undefined;
  readonly resumedBy: string | undefined;
  readonly resumeReason: string | undefined;
  /** No call that it covers can send a byte any more. */
  readonly inForce: boolean;
  /** Hosts that have such a call under way. */
  readonly waitingFor: readonly string[];
}

const Stopped = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('stopped'), id: z.string(), created: z.boolean() }),
  z.object({ kind: z.literal('not_found') }),
]);
const Resumed = z.object({ kind: z.enum(['resumed', 'not_found']) });
const Waiting = z.array(z.object({ stop: z.string(), calls: z.number(), hosts: z.array(z.string()) }));

/**
 * Commits a stop; from then on no call that it covers is admitted. The same stop again is the one that is in force.
 * @throws BulkheadError NOT_FOUND (the same for foreign and unknown targets), BAD_INPUT
 */
export async function stopCalls(db: TenantDb, order: StopOrder): Promise<{ readonly id: string }> {
  if ((order.scope === 'tenant') !== (order.target === '')) {
    throw new BulkheadError('BAD_INPUT', {
      field: 'target',
      publicMessage: 'target: name the agent or tool, and nothing for the whole tenant',
    });
  }
  if (order.end && (order.state !== 'killed' || order.scope === 'tool')) {
    throw new BulkheadError('BAD_INPUT', {
      field: 'end',
      publicMessage: 'end: only a kill of the tenant or of an agent ends runs',
    });
  }
  const answer = Stopped.parse(await db.call('stop_calls', { ...order }));
  if (answer.kind === 'not_found') throw new BulkheadError('NOT_FOUND', { field: 'target' });
  return { id: answer.id };
}

/** Lifts one stop and wakes what it parked. A second time changes nothing. @throws BulkheadError NOT_FOUND */
export async function resumeCalls(
  db: TenantDb,
  order: { readonly id: string; readonly reason: string; readonly actor: string },
): Promise<void> {
  const known = parseStopId(order.id)?.tenantId === db.tenantId;
  const answer = known ? Resumed.parse(await db.call('resume_calls', { ...order })) : undefined;
  if (answer?.kind !== 'resumed') throw new BulkheadError('NOT_FOUND', { field: 'id' });
}

const LOOK_EVERY_MS = 40;

/**
 * Waits until the stop is in force, at most `boundMs`, and returns it as it then is. A host that cannot be reached counts
 * once it is fenced, which takes 8 s. @throws BulkheadError NOT_FOUND
 */
export async function untilInForce(db: TenantDb, id: string, boundMs: number): Promise<Stop> {
  const until = performance.now() + boundMs;
  for (;;) {
    const [stop] = await listStops(db, { id });
    if (!stop) throw new BulkheadError('NOT_FOUND', { field: 'id' });
    if (stop.inForce || performance.now() >= until) return stop;
    await sleep(LOOK_EVERY_MS);
  }
}

const LISTED_MAX = 200;

/** Stops that are in force or on their way, newest first, at most 200; with `lifted`, those that were lifted too. */
export async function listStops(
  db: TenantDb,
  which: { readonly id?: string; readonly lifted?: boolean } = {},
): Promise<readonly Stop[]> {
  const { tenantId } = db;
  const where =
    which.id === undefined
      ? { tenantId, ...(which.lifted === true ? {} : { resumedAt: null }) }
      : { tenantId, id: which.id };
  const rows = await db.run((tx) =>
    tx.controlStop.findMany({ where, orderBy: [{ at: 'desc' }, { id: 'desc' }], take: LISTED_MAX }),
  );
  if (rows.length === 0) return [];
  const waiting = Waiting.parse(await db.call('stops_not_in_force', {}));
  return rows.map((row) => stopOf(row, waiting.find(({ stop }) => stop === row.id)?.hosts ?? []));
}

function stopOf(row: Prisma.ControlStopGetPayload<object>, waitingFor: readonly string[]): Stop {
  const scope = STOP_SCOPES.find((known) => known === row.scope);
  const state = STOP_STATES.find((known) => known === row.state);
  if (!scope || !state)
    throw new BulkheadError('INTERNAL', { internal: `stop ${row.id} is of no known kind` });
  const { id, target, reason, actor, at, ends: end } = row;
  return {
    id,
    scope,
    target,
    state,
    end,
    reason,
    actor,
    at,
    waitingFor,
    resumedAt: row.resumedAt ?? undefined,
    resumedBy: row.resumedBy ?? undefined,
    resumeReason: row.resumeReason ?? undefined,
    inForce: row.resumedAt === null && waitingFor.length === 0,
  };
}
