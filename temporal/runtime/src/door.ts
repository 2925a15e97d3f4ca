import { ApplicationFailure, defaultPayloadConverter } from '@temporalio/common';
import type { Payload } from '@temporalio/common';
import type { Info } from '@temporalio/activity';
import type { ActivityExecuteInput, ActivityInterceptorsFactory } from '@temporalio/worker';
import { BulkheadError, ENVELOPE_HEADER, FAILURES, faultMark } from '@bulkhead/contract';
import type { Envelope, EnvelopeDifference, TenantId } from '@bulkhead/contract';
import { openEnvelope } from './envelope.js';
import type { EnvelopeVerifier } from './envelope.js';
import type { OnRefusal } from './refusal.js';

/**
 * The door of every activity, local ones included. It opens the envelope before anything happens and puts it in front
 * of the arguments: from here on the tenant is an explicit first argument, and no author or model can have set it.
 */
export function activityDoor(
  tenantId: TenantId,
  verifier: EnvelopeVerifier,
  onRefusal: OnRefusal,
): ActivityInterceptorsFactory {
  return (context) => ({
    inbound: {
      execute: async (input, next) => {
        try {
          const envelope = guarded(tenantId, context.info, input, onRefusal, () =>
            enter(tenantId, verifier, context.info, input),
          );
          return await next({ ...input, args: [envelope, ...input.args] });
        } catch (error) {
          throw named(toFailure(error, context.info.attempt, context.log), context.info);
        }
      },
    },
  });
}

/** Tells of a refusal before it is thrown on. */
function guarded(
  tenantId: TenantId,
  info: Info,
  input: ActivityExecuteInput,
  onRefusal: OnRefusal,
  open: () => Envelope,
): Envelope {
  try {
    return open();
  } catch (error) {
    if (error instanceof BulkheadError) {
      onRefusal(tenantId, {
        at: 'activity',
        code: error.code,
        differs: [(error.field ?? 'form') as EnvelopeDifference],
        workflowId: info.workflowExecution?.workflowId ?? '',
        presented: presentedBy(input),
      });
    }
    throw error;
  }
}

function presentedBy(input: ActivityExecuteInput): unknown {
  try {
    return textOf(input.headers[ENVELOPE_HEADER]);
  } catch {
    return undefined; // not text: the refusal says so itself
  }
}

function enter(
  tenantId: TenantId,
  verifier: EnvelopeVerifier,
  info: Info,
  input: ActivityExecuteInput,
): Envelope {
  // an activity without a workflow would have no run to belong to
  if (!info.workflowExecution)
    throw new BulkheadError('ENVELOPE_MISMATCH', { internal: 'no workflow', field: 'runId' });
  return openEnvelope(verifier, textOf(input.headers[ENVELOPE_HEADER]), {
    tenantId,
    namespace: info.namespace,
    taskQueue: info.taskQueue,
    workflowId: info.workflowExecution.workflowId,
  });
}

function textOf(payload: Payload | undefined): unknown {
  try {
    return payload && defaultPayloadConverter.fromPayload(payload);
  } catch (cause) {
    throw new BulkheadError('ENVELOPE_INVALID', { internal: 'the header is not text', field: 'form', cause });
  }
}

/** The slice of the activity's logger that is used here. */
interface Log {
  warn(message: string, meta?: Record<string, unknown>): void;
}

/**
 * What Temporal stores of a fault: its code and its public message. The internal one may quote anything, and a history
 * is kept and shown, so it goes to the log only. Cancellation and Temporal's own failures pass as they are.
 */
export function toFailure(error: unknown, attempt: number, log: Log): unknown {
  if (error instanceof BulkheadError) {
    log.warn('activity fault', { code: error.code, internal: error.message });
    return ApplicationFailure.create({
      type: error.code,
      message: error.publicMessage,
      nonRetryable: !FAILURES[error.code].retry,
    });
  }
  if (error instanceof Error && TEMPORAL_FAILURES.has(error.name)) return error;
  log.warn('activity fault', {
    code: 'INTERNAL',
    internal: error instanceof Error ? error.stack : String(error),
  });
  // a bug or a dependency's unknown fault: worth some more tries, then the run must fail where people see it
  return ApplicationFailure.create({
    type: 'INTERNAL',
    message: FAILURES.INTERNAL.publicMessage,
    nonRetryable: attempt >= UNKNOWN_FAULT_ATTEMPTS_MAX,
  });
}

/** What ends an activity for good says, where nobody else can write it, of what it is: `faultMark`. */
function named(failure: unknown, { workflowExecution, activityId }: Info): unknown {
  if (!(failure instanceof ApplicationFailure) || !failure.nonRetryable) return failure;
  const mark = faultMark(workflowExecution?.workflowId ?? '', activityId, failure.type ?? '');
  return Object.assign(failure, { details: [...(failure.details ?? []), mark] });
}

const UNKNOWN_FAULT_ATTEMPTS_MAX = 10;
const TEMPORAL_FAILURES = new Set([
  'ApplicationFailure',
  'CancelledFailure',
  'CompleteAsyncError',
  'AbortError',
]);
