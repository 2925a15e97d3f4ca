import { userInfo } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { newUlid } from '@bulkhead/runtime/ulid';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { getTenant, latestLifecycle, requestLifecycle } from '@bulkhead/tenancy/admin';
import type { LifecycleOrder } from '@bulkhead/tenancy/admin';

/** A tenant is stopped or served again within seconds; a large one is erased in minutes. */
const DONE_WITHIN_MS = 120_000;
const ASK_EVERY_MS = 200;
const DAY_SECONDS = 86_400;
const GRACE_DAYS_MAX = 90;

/** Whoever types it, for the row and the journal. */
export const typist = (): string => `command:${userInfo().username}`;

/** The commands that order something to be done to a tenant. */
export const LIFECYCLE_COMMANDS = ['suspend', 'resume', 'offboard', 'reinstate'] as const;

/** @throws RangeError when the days are not a whole number from 0 to 90. */
export function orderOf(
  kind: (typeof LIFECYCLE_COMMANDS)[number],
  graceDays: string | undefined,
): LifecycleOrder {
  if (kind !== 'offboard') return { kind };
  const days = graceDays === undefined ? 30 : Number(graceDays);
  if (!Number.isInteger(days) || days < 0 || days > GRACE_DAYS_MAX)
    throw new RangeError('--grace-days must be 0 to 90');
  return { kind, graceSeconds: days * DAY_SECONDS };
}

/**
 * Orders it and follows it: `say` gets a line for each step that is done. Returns when it is over, when an offboarding
 * waits for the end of its grace period, or after two minutes.
 * @throws BulkheadError NOT_FOUND, INVALID_STATE
 */
export async function follow(
  db: TenantDb,
  order: LifecycleOrder,
  reason: string,
  say: (line: string) => void,
): Promise<Record<string, string>> {
  await requestLifecycle(db, { order, reason, actor: typist(), ulid: newUlid(Date.now()) });
  const said = new Set<string>();
  for (const until = Date.now() + DONE_WITHIN_MS; ; await sleep(ASK_EVERY_MS)) {
    const lifecycle = await latestLifecycle(db);
    for (const { name, doneAt } of lifecycle?.steps ?? []) {
      if (doneAt === undefined || said.has(name)) continue;
      said.add(name);
      say(`done: ${name}`);
    }
    const state = lifecycle?.state ?? 'requested';
    const waits = state === 'waiting' && order.kind !== 'reinstate';
    if (lifecycle?.finishedAt === undefined && !waits && Date.now() < until) continue;
    const { id, status } = await getTenant(db);
    const graceUntil = lifecycle?.graceUntil;
    return {
      tenant: id,
      status,
      lifecycle: `${lifecycle?.kind ?? order.kind} ${state}`,
      ...(waits && graceUntil ? { canBeTakenBackUntil: graceUntil.toISOString() } : {}),
    };
  }
}
