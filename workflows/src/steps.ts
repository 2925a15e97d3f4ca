import type { Outcome } from '@bulkhead/contract';

/** One line of a run's result: which tool, how it ended, and why not. */
export type Step = {
  readonly tool: string;
  readonly outcome: Outcome['kind'];
  readonly rule?: string;
  readonly note?: string;
};

/** What a tenant may read of an outcome; the value itself stays in the history. */
export function stepOf(tool: string, outcome: Outcome): Step {
  if (outcome.kind === 'ok') return { tool, outcome: 'ok' };
  const { rule, message } = outcome.reason;
  return { tool, outcome: outcome.kind, ...(rule === undefined ? {} : { rule }), note: message };
}
