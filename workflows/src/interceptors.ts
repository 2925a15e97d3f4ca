import { ApplicationFailure, defaultPayloadConverter, workflowInfo } from '@temporalio/workflow';
import type { Headers, WorkflowInterceptors, WorkflowInterceptorsFactory } from '@temporalio/workflow';
import { ENVELOPE_HEADER, FAILURES, parseRunId, runIdOfWorkflow } from '@bulkhead/contract';
import type { Envelope, FailureCode } from '@bulkhead/contract';
import { decodeBase64url } from './base64url.js';

/**
 * Carries the envelope through a run: kept from the start, given to every activity, child, signal and next segment.
 * An author can neither read nor set it. The signature is checked where there is a key, at each activity's door; here
 * only an envelope that is plainly someone else's stops the run early.
 */
export const interceptors: WorkflowInterceptorsFactory = (): WorkflowInterceptors => {
  let kept: Headers = {};
  const carry = <Input extends { readonly headers: Headers }>(input: Input): Input => ({
    ...input,
    headers: { ...input.headers, ...kept },
  });
  return {
    inbound: [
      {
        // async, so that a refusal fails the run; thrown at once it would only fail the task, again and again
        async execute(input, next) {
          const payload = input.headers[ENVELOPE_HEADER];
          if (!payload) throw fault('ENVELOPE_INVALID');
          checkBelongs(defaultPayloadConverter.fromPayload(payload));
          kept = { [ENVELOPE_HEADER]: payload };
          return next(input);
        },
      },
    ],
    outbound: [
      {
        scheduleActivity: (input, next) => next(carry(input)),
        scheduleLocalActivity: (input, next) => next(carry(input)),
        startChildWorkflowExecution: (input, next) => next(carry(input)),
        signalWorkflow: (input, next) => next(carry(input)),
        continueAsNew: (input, next) => next(carry(input)),
      },
    ],
  };
};

/** By the workflow id alone: a replay has neither the namespace nor the queue. The door checks those as well. */
function checkBelongs(text: unknown): void {
  const envelope = claimsOf(text);
  if (!envelope?.tenantId || !envelope.runId) throw fault('ENVELOPE_INVALID');
  const run = runIdOfWorkflow(workflowInfo().workflowId);
  if (envelope.runId !== run || envelope.tenantId !== parseRunId(run)?.tenantId) {
    throw fault('ENVELOPE_MISMATCH');
  }
}

/** What the envelope claims, unverified. */
function claimsOf(text: unknown): Partial<Envelope> | undefined {
  const payload = typeof text === 'string' ? decodeBase64url(text.split('.')[1] ?? '') : undefined;
  try {
    return payload === undefined ? undefined : (JSON.parse(payload) as Partial<Envelope>);
  } catch {
    return undefined; // not JSON: as good as no envelope
  }
}

const fault = (code: FailureCode): ApplicationFailure =>
  ApplicationFailure.nonRetryable(FAILURES[code].publicMessage, code);
