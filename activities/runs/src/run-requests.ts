import { createHash } from 'node:crypto';
import { z } from 'zod';
import {
  BulkheadError,
  canonicalJson,
  depthExceeds,
  isStorable,
  parseRunId,
  PERSON_SIGNALS,
} from '@bulkhead/contract';
import type { Json, RunId, SealArguments } from '@bulkhead/contract';
import type { Prisma, TenantDb } from '@bulkhead/prisma/tenant';

/** Where a reset starts again: the run's first workflow task, its last one, or one that is named by its event. */
export type ResetPoint =
  { readonly to: 'first' | 'last' } | { readonly to: 'event'; readonly eventId: number };

/** What a person may ask of a run. */
export type RunAction =
  | { readonly kind: 'cancel' | 'terminate' }
  /** `dropSignals`: without the signals that came after the point, as when one of them was a mistake. */
  | { readonly kind: 'reset'; readonly point: ResetPoint; readonly dropSignals?: boolean }
  /** `name` is one of PERSON_SIGNALS of the run's workflow; `argument` any JSON of at most 16 KiB, or nothing. */
  | { readonly kind: 'signal'; readonly name: string; readonly argument?: Json | undefined };

export type RunRequestKind = 'cancel' | 'terminate' | 'signal' | 'reset';

export interface RunOrder {
  readonly runId: string;
  readonly action: RunAction;
  /** Why: shown to everyone who sees the run, and journalled. 1 to 1,000 characters. */
  readonly reason: string;
  /** `key:<prefix>` or `user:<id>`. */
  readonly actor: string;
  /**
   * The same key with the same run and arguments is the same request; without one, so is a request that is pending. A
   * signal must have one: sent twice, it would be heard twice.
   */
  readonly idempotencyKey?: string | undefined;
}

const Answer = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('accepted'), created: z.boolean() }),
  z.object({
    kind: z.enum(['not_found', 'conflict', 'finished', 'not_started', 'resetting', 'answers_removed']),
  }),
]);

/** Canonical JSON of a signal's argument at most. */
const ARGUMENT_BYTES_MAX = 16_384;
const ARGUMENT_DEPTH_MAX = 64;

/**
 * Commits what a person asks of a run, with its order and its journal record; the control process carries it out. A
 * signal's argument is sealed first: whoever carries it cannot read it.
 * @throws BulkheadError NOT_FOUND (the same for foreign, unknown and malformed ids), IDEMPOTENCY_CONFLICT,
 *   INVALID_STATE (ended, not started, being reset already, or a reset without the answers it would need), BAD_INPUT, PAYLOAD_TOO_LARGE (a signal's)
 */
export async function requestRun(
  db: TenantDb,
  order: RunOrder,
  deps: { readonly sealArguments: SealArguments },
): Promise<{ readonly created: boolean }> {
  const { runId, action, reason, actor, idempotencyKey } = order;
  if (parseRunId(runId)?.tenantId !== db.tenantId) throw new BulkheadError('NOT_FOUND', { field: 'id' });
  if (action.kind === 'signal' && idempotencyKey === undefined) {
    throw new BulkheadError('BAD_INPUT', { field: 'idempotencyKey' });
  }
  const { digest, detail, shown } = await partsOf(db, runId, action, deps.sealArguments);
  const answer = Answer.parse(
    await db.call('request_run', {
      runId,
      kind: action.kind,
      reason,
      actor,
      idempotencyKey,
      digest,
      detail,
      shown,
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
    case 'answers_removed':
      throw new BulkheadError('INVALID_STATE', {
        publicMessage:
          'The answers of its calls were removed, as the policy says, so it cannot be reset. Start a new run.',
      });
  }
}

interface Parts {
  /** What the idempotency key stands for, in hex. */
  readonly digest: string;
  /** What the control process needs. */
  readonly detail: Json;
  /** What the journal shows. */
  readonly shown: Json;
}

async function partsOf(db: TenantDb, id: string, action: RunAction, seal: SealArguments): Promise<Parts> {
  if (action.kind !== 'signal') {
    const detail: Json =
      action.kind === 'reset'
        ? { ...action.point, ...(action.dropSignals ? { dropSignals: true } : {}) }
        : {};
    return { digest: digestOf(canonicalJson(detail)), detail, shown: detail };
  }
  const { tenantId } = db;
  const run = await db.run((tx) =>
    tx.run.findUnique({ where: { tenantId_id: { tenantId, id } }, select: { workflowType: true } }),
  );
  if (!run) throw new BulkheadError('NOT_FOUND', { field: 'id' });
  const { name, argument } = action;
  checkName(name, PERSON_SIGNALS[run.workflowType] ?? []);
  const text = argument === undefined ? '' : argumentText(argument);
  const args = await seal(tenantId, argument === undefined ? [] : [argument]);
  return { digest: digestOf(`${name}\n${text}`), detail: { name, args: [...args] }, shown: { signal: name } };
}

function checkName(name: string, known: readonly string[]): void {
  if (known.includes(name)) return;
  const list = known.length === 0 ? 'it takes none' : `it takes ${known.join(', ')}`;
  throw new BulkheadError('BAD_INPUT', {
    field: 'name',
    publicMessage: `The run takes no such signal from people: ${list}.`,
  });
}

/** @throws BulkheadError BAD_INPUT, PAYLOAD_TOO_LARGE for what no column and no history should hold */
function argumentText(argument: Json): string {
  const invalid = (publicMessage: string): BulkheadError =>
    new BulkheadError('BAD_INPUT', { field: 'argument', publicMessage });
  if (depthExceeds(argument, ARGUMENT_DEPTH_MAX)) {
    throw invalid(`The argument is nested deeper than ${ARGUMENT_DEPTH_MAX} levels.`);
  }
  // JSON.stringify writes half a character as an escape, which canonicalJson refuses as no text
  if (!isStorable(JSON.stringify(argument)))
    throw invalid('The argument is not valid Unicode without U+0000.');
  const text = canonicalJson(argument);
  if (Buffer.byteLength(text) > ARGUMENT_BYTES_MAX) {
    throw new BulkheadError('PAYLOAD_TOO_LARGE', {
      field: 'argument',
      publicMessage: `The argument is larger than ${ARGUMENT_BYTES_MAX} bytes.`,
    });
  }
  return text;
}

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

const resetting = (): BulkheadError =>
  new BulkheadError('INVALID_STATE', { publicMessage: 'The run is being reset already.' });

/** A request as the run shows it. */
export interface RunRequestView {
  readonly kind: RunRequestKind;
  /** `outside`: not by a mutation; somebody who may reach the Temporal server did it there. */
  readonly origin: 'mutation' | 'outside';
  readonly reason: string | undefined;
  readonly actor: string;
  /** Name of the signal, when it is one. */
  readonly signal: string | undefined;
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
    signal: kind === 'signal' ? String(Reflect.get(Object(row.detail), 'name')) : undefined,
    at: row.at,
    doneAt: row.doneAt ?? undefined,
    failure: row.failure ?? undefined,
  };
}
