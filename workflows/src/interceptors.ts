import { ApplicationFailure, defaultPayloadConverter, workflowInfo } from '@temporalio/workflow';
import type { Headers, WorkflowInterceptors, WorkflowInterceptorsFactory } from '@temporalio/workflow';
import {
  claimsOf,
  ENVELOPE_HEADER,
  envelopeDifferences,
  FAILURES,
  parseRunId,
  REFUSED_PAYLOAD_HEADER,
} from '@bulkhead/contract';
import type { EnvelopeDifference, FailureCode } from '@bulkhead/contract';
import { refuse, report } from './refusals.js';

/**
 * Carries the envelope through a run: kept from the start, given to every activity, signal and next segment. An author
 * can neither read nor set it. Its signature is checked where there is a key, at each activity's door; here an envelope
 * that is plainly someone else's stops the run early, and whatever is sent to the run must carry the very same text.
 */
export const interceptors: WorkflowInterceptorsFactory = (): WorkflowInterceptors => {
  let kept: Headers = {};
  let own = '';
  const carry = <Input extends { readonly headers: Headers }>(input: Input): Input => ({
    ...input,
    headers: { ...input.headers, ...kept },
  });
  return {
    inbound: [
      {
        // async, so that a refusal fails the run; thrown at once it would only fail the task, again and again
        async execute(input, next) {
          const text = envelopeIn(input.headers);
          checkBelongs(text);
          if (isPayloadRefused(input.headers)) throw refuse('start', 'PAYLOAD_REFUSED', ['payload']);
          own = text;
          kept = pick(input.headers);
          return next(input);
        },
        async handleSignal(input, next) {
          const differs = envelopeDifferences(envelopeIn(input.headers), own);
          // dropped, not thrown: an error would fail the run, and whoever may signal could end it
          if (differs.length > 0) return report('signal', codeOf(differs), differs);
          if (isPayloadRefused(input.headers)) return report('signal', 'PAYLOAD_REFUSED', ['payload']);
          return next(input);
        },
        // changes nothing, so it needs no envelope and leaves no record
        async handleQuery(input, next) {
          if (isPayloadRefused(input.headers)) throw payloadRefused();
          return next(input);
        },
        validateUpdate(input, next) {
          checkSame(input.headers, own);
          next(input);
        },
        // again: an update without a validator, and one that is replayed, come here only
        async handleUpdate(input, next) {
          checkSame(input.headers, own);
          return next(input);
        },
      },
    ],
    outbound: [
      {
        scheduleActivity: (input, next) => next(carry(input)),
        scheduleLocalActivity: (input, next) => next(carry(input)),
        // work that nobody accepted: a child would pass neither acceptance nor quotas nor a kill of its own
        async startChildWorkflowExecution() {
          throw refuse('child', 'ENVELOPE_MISMATCH', ['acceptance']);
        },
        signalWorkflow: (input, next) => next(carry(input)),
        continueAsNew: (input, next) => next(carry(input)),
      },
    ],
  };
};

function pick(headers: Headers): Headers {
  const payload = headers[ENVELOPE_HEADER];
  return payload ? { [ENVELOPE_HEADER]: payload } : {};
}

/** '' for whatever is no text. */
function envelopeIn(headers: Headers): string {
  const { [ENVELOPE_HEADER]: payload } = headers;
  try {
    const text: unknown = payload && defaultPayloadConverter.fromPayload(payload);
    return typeof text === 'string' ? text : '';
  } catch {
    return ''; // an encoding that nobody knows; thrown on, it would fail the task again and again
  }
}

/** By the workflow id alone: a replay has neither the namespace nor the queue. The door checks those as well. */
function checkBelongs(text: string): void {
  if (text === '') throw refuse('start', 'ENVELOPE_INVALID', ['envelope']);
  const envelope = claimsOf(text);
  if (!envelope) throw refuse('start', 'ENVELOPE_INVALID', ['form']);
  const { workflowId, parent } = workflowInfo();
  if (parent) throw refuse('start', 'ENVELOPE_MISMATCH', ['acceptance']);
  if (!envelope.tenantId) throw refuse('start', 'ENVELOPE_INVALID', ['tenantId']);
  if (envelope.runId !== workflowId) throw refuse('start', 'ENVELOPE_MISMATCH', ['runId']);
  if (envelope.tenantId !== parseRunId(workflowId)?.tenantId) {
    throw refuse('start', 'ENVELOPE_MISMATCH', ['tenantId']);
  }
}

function checkSame(headers: Headers, own: string): void {
  const differs = envelopeDifferences(envelopeIn(headers), own);
  if (differs.length > 0) throw refuse('update', codeOf(differs), differs);
  if (isPayloadRefused(headers)) throw refuse('update', 'PAYLOAD_REFUSED', ['payload']);
}

/** The host took the arguments out: the tenant's key did not seal them. */
const isPayloadRefused = (headers: Headers): boolean => Object.hasOwn(headers, REFUSED_PAYLOAD_HEADER);

const payloadRefused = (): ApplicationFailure =>
  ApplicationFailure.nonRetryable(FAILURES.PAYLOAD_REFUSED.publicMessage, 'PAYLOAD_REFUSED');

const codeOf = (differs: readonly EnvelopeDifference[]): FailureCode =>
  differs.includes('envelope') || differs.includes('form') || differs.includes('signature')
    ? 'ENVELOPE_INVALID'
    : 'ENVELOPE_MISMATCH';
