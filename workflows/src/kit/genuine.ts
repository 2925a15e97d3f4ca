import { ActivityFailure, ApplicationFailure, sleep, workflowInfo } from '@temporalio/workflow';
import { faultMark } from '@bulkhead/contract';
import { refuse, report } from '../refusals.js';

/** An attacker must act again for each; then the run fails where people see it, before its history is full. */
const ASKED_AGAIN_MAX = 10;
const WAIT_MS_MAX = 60_000;
const NOT_OURS = ['payload'] as const;

/**
 * Asks, and asks again while what comes back is nothing that the tenant's host answered to this question: the host took it out, or it
 * does not fit. Nothing is done twice by that: the ledger has the call by its key. The first time at once, later after
 * waits of 1 s to 60 s.
 * @throws ApplicationFailure PAYLOAD_REFUSED when that goes on; faults of the line as they come
 */
export async function genuine<T>(ask: () => Promise<T>, fits: (answer: T) => boolean): Promise<T> {
  for (let refused = 0; ; refused += 1) {
    const answer = await taken(ask);
    if (answer && fits(answer.value)) return answer.value;
    if (refused === ASKED_AGAIN_MAX) throw refuse('answer', 'PAYLOAD_REFUSED', NOT_OURS);
    report('answer', 'PAYLOAD_REFUSED', NOT_OURS);
    if (refused > 0)
      await sleep(Math.min(1_000 * 2 ** (refused - 1), WAIT_MS_MAX), { summary: 'refused answer' });
  }
}

/** undefined: the host took the answer out, or it is a failure that no host gave to this question. */
async function taken<T>(ask: () => Promise<T>): Promise<{ readonly value: T } | undefined> {
  try {
    return { value: await ask() };
  } catch (error) {
    if (isTakenOut(error) || isForged(error)) return undefined;
    throw error;
  }
}

/** By itself: one within Temporal's own failure is one that the line gave. */
const isTakenOut = (error: unknown): boolean =>
  error instanceof ApplicationFailure && error.type === 'PAYLOAD_REFUSED';

/** That its details are sealed does not say so: whoever may write to the namespace can copy what was sealed for something else. */
function isForged(error: unknown): boolean {
  if (!(error instanceof ActivityFailure) || !(error.cause instanceof ApplicationFailure)) return false;
  const { details, type } = error.cause;
  return details?.at(-1) !== faultMark(workflowInfo().workflowId, error.activityId ?? '', type ?? '');
}
