import { z } from 'zod';
import { BulkheadError, REFUSAL_KINDS } from '@bulkhead/contract';
import type {
  ApprovalId,
  CallAnswer,
  CallKey,
  Envelope,
  Json,
  Outcome,
  OutcomeKind,
  Reason,
  TenantId,
} from '@bulkhead/contract';
import type { Admitted, Call, Journal } from '@bulkhead/journal/line';
import type { AllowDecision } from '@bulkhead/policy/line';
import { PURPOSES } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';

interface AnswerDeps {
  readonly journal: Pick<Journal, 'decide'>;
  readonly keyRing: Pick<KeyRing, 'open'>;
}
type Closed = { readonly outcome: OutcomeKind; readonly result: string | null };
type Refused = Exclude<Admitted, { kind: 'admitted' | 'policy_moved' | 'tool_moved' }>;

interface Rejection {
  readonly key: CallKey;
  readonly toolId: string;
  readonly kind: 'denied' | 'invalid_input' | 'approval_expired' | 'provider_unavailable';
  readonly policyVersion: number;
  readonly reason: Reason;
}

/** Records a refusal; when this call was done earlier (a reset under a newer policy), that answer stands instead. */
export async function rejected(deps: AnswerDeps, envelope: Envelope, rejection: Rejection): Promise<Outcome> {
  const { tenantId, runId } = envelope;
  const recorded = await deps.journal.decide(tenantId, { runId, ...rejection });
  switch (recorded.kind) {
    case 'recorded':
      return { kind: rejection.kind, reason: rejection.reason, key: rejection.key };
    case 'indeterminate':
      return indeterminate(rejection.key);
    case 'closed':
      return closedOutcome(deps, tenantId, rejection.key, recorded);
  }
}

/** The tenant sees it in the journal and in the run: the author decides what becomes of the run without that tool. */
export function noCredential(
  deps: AnswerDeps,
  envelope: Envelope,
  { policyVersion }: AllowDecision,
  { key, toolId }: Call,
): Promise<Outcome> {
  const reason = {
    message: 'The credential of this tool cannot be opened. Nothing was sent.',
    layer: 'credentials',
  };
  return rejected(deps, envelope, { key, toolId, kind: 'provider_unavailable', policyVersion, reason });
}

/** What admit said, as an answer for the kit or the author, or as a fault that is worth another attempt. */
export async function answerOf(
  deps: AnswerDeps,
  envelope: Envelope,
  decision: AllowDecision,
  call: Call,
  admitted: Refused,
): Promise<CallAnswer> {
  const { key, toolId } = call;
  const { rule, policyVersion } = decision;
  switch (admitted.kind) {
    case 'closed':
      return closedOutcome(deps, envelope.tenantId, key, admitted);
    case 'indeterminate':
      return indeterminate(key);
    case 'grant_stale':
      return {
        kind: 'grant_stale',
        reason: { message: 'The credential of this tool was changed or revoked.', layer: 'credentials' },
        key,
      };
    case 'parked':
      return {
        kind: 'parked',
        state: admitted.state,
        reason: { message: admitted.note ?? `The tenant is ${admitted.state}.`, layer: 'control' },
        key,
      };
    case 'approval_required': {
      const approvalId = admitted.approvalId as ApprovalId;
      const message = `Rule ${rule} wants a person to approve this call.`;
      const reason = { message, rule, approvalId, resetsAt: admitted.expiresAt };
      return { ...admitted, approvalId, reason, key };
    }
    case 'approval_expired': {
      const approvalId = admitted.approvalId as ApprovalId;
      const reason = { message: 'Nobody approved this call in time.', rule, approvalId };
      return rejected(deps, envelope, { key, toolId, kind: 'approval_expired', policyVersion, reason });
    }
    case 'approval_rejected': {
      const approvalId = admitted.approvalId as ApprovalId;
      const why = admitted.reason === null ? '' : `: ${admitted.reason}`;
      const reason = { message: `A person rejected this call${why}`, rule, approvalId };
      return rejected(deps, envelope, { key, toolId, kind: 'denied', policyVersion, reason });
    }
    case 'budget_exceeded': {
      const { layer, limit, used, resetsAt } = admitted;
      const message =
        layer === 'cost_micros_per_day'
          ? `The call would cost more than is left of the budget of ${limit} millionths for a day.`
          : `The daily limit of ${limit} tool calls is used up.`;
      return { kind: 'budget_exceeded', reason: { message, layer, limit, used, resetsAt }, key };
    }
    case 'limit_reached': {
      const { resetsAt, ...reason } = admitted.reason;
      return {
        kind: 'budget_exceeded',
        reason: { ...reason, ...(resetsAt === undefined ? {} : { resetsAt }) },
        key,
      };
    }
    case 'held':
      throw new BulkheadError('EFFECT_HELD', { internal: `another attempt holds effect ${key}` });
    case 'run_ended':
      // after a reset from outside the run is open again before the watcher has seen it, so this may pass
      throw new BulkheadError('EFFECT_HELD', { internal: `run ${envelope.runId} has ended` });
    case 'fenced':
      throw new BulkheadError('HOST_FENCED', { internal: 'this host is fenced' });
    case 'journal_lagging':
      throw new BulkheadError('JOURNAL_LAGGING', { internal: 'the sealer lags' });
  }
}

export const indeterminate = (key: CallKey): Outcome => ({
  kind: 'indeterminate',
  key,
  reason: {
    message:
      'The request was sent and no answer came; it may or may not have had its effect, and it is not repeated.',
  },
});

/** What is kept of an answered effect; the key is the row's own. */
const Stored = z.discriminatedUnion('kind', [
  // as it stands: zod's own JSON schema leaves out what is called `__proto__`
  z.strictObject({ kind: z.literal('ok'), value: z.custom<Json>((value) => value !== undefined) }),
  z.strictObject({ kind: z.enum(REFUSAL_KINDS), reason: z.looseObject({ message: z.string() }) }),
]);

/**
 * The stored outcome of an effect that is closed: a second attempt and a reset get exactly what the first one got.
 * @throws BulkheadError ANSWER_REMOVED when it is not kept any more: the call was made and is not made again
 */
async function closedOutcome(
  deps: Pick<AnswerDeps, 'keyRing'>,
  tenantId: TenantId,
  key: CallKey,
  closed: Closed,
): Promise<Outcome> {
  if (closed.result === null)
    throw new BulkheadError('ANSWER_REMOVED', { internal: `the answer of effect ${key} is gone` });
  const sealed = Buffer.from(closed.result, 'base64');
  const text = (await deps.keyRing.open(tenantId, PURPOSES.effectResult, sealed)).toString('utf8');
  const stored = Stored.parse(JSON.parse(text));
  if (stored.kind !== closed.outcome) {
    throw new BulkheadError('INTERNAL', { internal: `effect ${key} and its result disagree` });
  }
  return stored.kind === 'ok'
    ? { kind: 'ok', value: stored.value, key }
    : { kind: stored.kind, reason: stored.reason, key };
}
