import { ApplicationFailure, proxySinks } from '@temporalio/workflow';
import { FAILURES, REFUSAL_SINK } from '@bulkhead/contract';
import type { EnvelopeDifference, FailureCode, RefusalSink, RefusedAt } from '@bulkhead/contract';

/**
 * Told to the host by a sink: it writes no history, so a flood of forged signals grows none, and it runs once, not at
 * each replay. What was refused has no effect whether or not it is told.
 */
const { [REFUSAL_SINK]: sink } = proxySinks<RefusalSink>();

export const report = (at: RefusedAt, code: FailureCode, differs: readonly EnvelopeDifference[]): void =>
  sink.refused(at, code, differs.join());

/** Tells of a refusal and gives the failure that ends the run with it. */
export function refuse(
  at: RefusedAt,
  code: FailureCode,
  differs: readonly EnvelopeDifference[],
): ApplicationFailure {
  report(at, code, differs);
  return ApplicationFailure.nonRetryable(FAILURES[code].publicMessage, code);
}
