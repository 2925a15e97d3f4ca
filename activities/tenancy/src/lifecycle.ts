import { z } from 'zod';
import { BulkheadError, LIFECYCLE_KINDS, LIFECYCLE_STATES } from '@bulkhead/contract';
import type { LifecycleKind, LifecycleState, TenantId } from '@bulkhead/contract';
import type { Prisma, TenantClient, TenantDb } from '@bulkhead/prisma/tenant';

/** What people may ask to be done to a tenant. */
export type LifecycleOrder =
  | { readonly kind: 'provision' | 'suspend' | 'resume' | 'reinstate' }
  /** How long it can be taken back, in seconds: 0 to 90 days. */
  | { readonly kind: 'offboard'; readonly graceSeconds: number };

export interface LifecycleRequest {
  readonly order: LifecycleOrder;
  /** Why, in 1 to 1,000 characters; shown to everyone who sees the tenant, and journalled. */
  readonly reason: string;
  /** `operator:<id>`, or who typed the command. */
  readonly actor: string;
  /** ULID, lower case: names the row and the workflow. */
  readonly ulid: string;
}

/** One thing that was or is done to a tenant, as people see it. */
export interface Lifecycle {
  readonly id: string;
  readonly kind: LifecycleKind;
  readonly state: LifecycleState;
  readonly steps: readonly LifecycleStepView[];
  readonly reason: string;
  readonly requestedBy: string;
  readonly createdAt: Date;
  readonly startedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
  /** Until then an offboarding can be taken back. */
  readonly graceUntil: Date | undefined;
  readonly reinstatedBy: string | undefined;
  readonly reinstateReason: string | undefined;
}

export interface LifecycleStepView {
  readonly name: string;
  readonly startedAt: Date;
  /** undefined: it is being done. */
  readonly doneAt: Date | undefined;
}

const Answer = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('accepted'), id: z.string(), created: z.boolean() }),
  z.object({ kind: z.literal('busy'), with: z.string() }),
  z.object({ kind: z.literal('not_now'), status: z.string() }),
  z.object({ kind: z.literal('not_found') }),
]);

/**
 * Commits what is to be done to the tenant, with its journal record; the control process does it. The same kind again
 * while it is under way is the same request.
 * @throws BulkheadError NOT_FOUND, INVALID_STATE (something else is under way, or the tenant's status does not allow it)
 */
export async function requestLifecycle(
  db: TenantDb,
  { order, reason, actor, ulid }: LifecycleRequest,
): Promise<{ readonly created: boolean }> {
  const answer = Answer.parse(
    await db.call('request_lifecycle', {
      id: `${db.tenantId}.lifecycle.${ulid}`,
      kind: order.kind,
      reason,
      actor,
      ...(order.kind === 'offboard' ? { graceSeconds: order.graceSeconds } : {}),
    }),
  );
  switch (answer.kind) {
    case 'accepted':
      return { created: answer.created };
    case 'not_found':
      throw new BulkheadError('NOT_FOUND', { field: 'id' });
    case 'busy':
      throw new BulkheadError('INVALID_STATE', {
        publicMessage: `The tenant is in the middle of this: ${answer.with}. Wait for its end.`,
      });
    case 'not_now':
      throw new BulkheadError('INVALID_STATE', {
        publicMessage: `The tenant is ${answer.status}, so this cannot be done to it.`,
      });
  }
}

/** The order to provision a tenant, in the transaction that makes it. */
export async function orderProvision(
  tx: TenantClient,
  tenantId: TenantId,
  { reason, actor, ulid }: Omit<LifecycleRequest, 'order'>,
): Promise<void> {
  const order = { tenantId, id: `${tenantId}.lifecycle.${ulid}`, kind: 'provision', reason, actor };
  await tx.$executeRaw`SELECT request_lifecycle(${JSON.stringify(order)}::jsonb)`;
}

/** What is being done to the tenant, or was last; undefined before the first. */
export async function latestLifecycle(db: TenantDb): Promise<Lifecycle | undefined> {
  const { tenantId } = db;
  const row = await db.run((tx) =>
    tx.lifecycle.findFirst({ where: { tenantId }, orderBy: { createdAt: 'desc' } }),
  );
  return row ? lifecycleOf(row) : undefined;
}

const Steps = z.array(
  z.object({ name: z.string(), startedAt: z.coerce.date(), doneAt: z.coerce.date().optional() }),
);

/** @throws when the row holds what no version of ours wrote. */
function lifecycleOf(row: Prisma.LifecycleGetPayload<object>): Lifecycle {
  return {
    id: row.id,
    kind: z.enum(LIFECYCLE_KINDS).parse(row.kind),
    state: z.enum(LIFECYCLE_STATES).parse(row.state),
    steps: Steps.parse(row.steps).map(({ name, startedAt, doneAt }) => ({ name, startedAt, doneAt })),
    reason: row.reason,
    requestedBy: row.requestedBy,
    createdAt: row.createdAt,
    startedAt: row.startedAt ?? undefined,
    finishedAt: row.finishedAt ?? undefined,
    graceUntil: row.graceUntil ?? undefined,
    reinstatedBy: row.reinstatedBy ?? undefined,
    reinstateReason: row.reinstateReason ?? undefined,
  };
}
