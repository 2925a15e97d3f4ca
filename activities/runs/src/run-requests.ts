import { createHash } from 'node:crypto';
import { z } from 'zod';
import { BulkheadError, canonicalJson, parseRunId } from '@bulkhead/contract';
import type { Json, RunId } from '@bulkhead/contract';
import type { Prisma, TenantDb } from '@bulkhead/prisma/tenant';

/** Where a reset starts again: the run's first workflow task, its last one, or one that is named by its event. */
export type ResetPoint =
  { readonly to: 'first' | 'last' } | { readonly to: 'event'; readonly eventId: number };

/** What a person may ask of a run. */
export type RunAction =
  { readonly kind: 'cancel' | 'terminate' } | { readonly kind: 'reset'; readonly point: ResetPoint };

export type RunRequestKind = 'cancel' | 'terminate' | 'signal' | 'reset';

export interface RunOrder {
  readonly runId: string;
  readonly action: RunAction;
  /** Why: shown to everyone who sees the run, and journalled. 1 to 1,000 characters. */
  readonly reason: string;
  /** `key:<prefix>` or `user:<id>`. */
  readonly actor: string;
  /** The same key with the same run and arguments is the same request; without one, so is a request that is pending. */
  readonly idempotencyKey?: string | undefined;
}

const Answer = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('accepted'), created: z.boolean() }),
  z.object({ kind: z.enum(['not_found', 'conflict', 'finished', 'not_started', 'resetting']) }),
]);

/**
 * Commits what a person asks of a run, with its order and its journal record; the control process carries it out.
 * @throws BulkheadError NOT_FOUND (the same for foreign, unknown and malformed ids), IDEMPOTENCY_CONFLICT,
 *   INVALID_STATE (ended, not started, or being reset already)
 */
export async function requestRun(db: TenantDb, order: RunOrder): Promise<{ readonly created: boolean }> {
  const { runId, action, reason, actor, idempotencyKey } = order;
  if (parseRunId(runId)?.tenantId !== db.tenantId) throw new BulkheadError('NOT_FOUND', { field: 'id' });
  const detail: Json = action.kind === 'reset' ? { ...action.point } : {};
  const answer = Answer.parse(
    await db.call('request_run', {
      runId,
      kind: action.kind,
      reason,
      actor,
      idempotencyKey,
      digest: createHash('sha256').update(canonicalJson(detail)).digest('hex'),
      detail,
      shown: detail,
    }),
  );
  switch (answer.kind) {
    case 'accepted':
      return { created: answer.created };
    case 'not_found':
      throw new BulkheadError('NOT_FOUND', { field: 'id' });
    case 'conflict':
      // without a key it is the pending request that differs
      if (idempotencyKey === undefined) throw resetting();
      throw new BulkheadError('IDEMPOTENCY_CONFLICT', { field: 'idempotencyKey' });
    case 'finished':
      throw new BulkheadError('INVALID_STATE', { publicMessage: 'The run has already ended.' });
    case 'not_started':
      throw new BulkheadError('INVALID_STATE', { publicMessage: 'The run has not started yet.' });
    case 'resetting':
      throw resetting();
  }
}

const resetting = (): BulkheadError =>
  new BulkheadError('INVALID_STATE', { publicMessage: 'The run is being reset already.' });

/** A request as the run shows it. */
export interface RunRequestView {
  readonly kind: RunRequestKind;
  /** `outside`: not by a mutation; somebody who may reach the Temporal server did it there. */
  readonly origin: 'mutation' | 'outside';
  readonly reason: string | undefined;
  readonly actor: string;
  readonly at: Date;
  /** undefined: it is being carried out. */
  readonly doneAt: Date | undefined;
  /** Why it could not be done. */
  readonly failure: string | undefined;
}

const SHOWN_MAX = 100;

/** What was asked of a run, newest first; at most 100. */
export async function listRunRequests(db: TenantDb, runId: RunId): Promise<readonly RunRequestView[]> {
  const { tenantId } = db;
  const rows = await db.run((tx) =>
    tx.runRequest.findMany({ where: { tenantId, runId }, orderBy: { id: 'desc' }, take: SHOWN_MAX }),
  );
  return rows.map(viewOf);
}

const KINDS: readonly RunRequestKind[] = ['cancel', 'terminate', 'signal', 'reset'];

function viewOf(row: Prisma.RunRequestGetPayload<object>): RunRequestView {
  const kind = KINDS.find((known) => known === row.kind);
  if (!kind) throw new BulkheadError('INTERNAL', { internal: `a run has the unknown request ${row.kind}` });
  return {
    kind,
    origin: row.origin === 'mutation' ? 'mutation' : 'outside',
    reason: row.reason === '' ? undefined : row.reason,
    actor: row.actor,
    at: row.at,
    doneAt: row.doneAt ?? undefined,
    failure: row.failure ?? undefined,
  };
}
