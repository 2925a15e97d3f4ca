import type { Json } from '@bulkhead/contract';

/** Kind of the records that say what was removed of a run. */
export const REMOVAL = 'removal';

/** An effect as far as the chain says something about it; `request` and `result`: whether they are there. */
export interface EffectRow {
  readonly key: string;
  readonly state: string;
  readonly outcome: string | null;
  readonly request: boolean;
  readonly result: boolean;
}

interface RecordView {
  readonly kind: string;
  readonly key: string | null;
  readonly body: unknown;
}

/** Call keys whose content such a record says is gone; none for any other. */
export function removedCalls({ kind, body }: Pick<RecordView, 'kind' | 'body'>): readonly string[] {
  const { calls } = (body ?? {}) as { readonly calls?: readonly Json[] };
  return kind === REMOVAL ? (calls ?? []).filter((call) => typeof call === 'string') : [];
}

/** What a chain says is not kept of the calls, to be compared with what is there. */
export interface Removals {
  /** In the order of the chain. */
  remember(record: RecordView): void;
  /** One line for each effect whose content is gone without a record, or there in spite of one. */
  problems(effects: readonly EffectRow[]): string[];
}

export function createRemovals(): Removals {
  const withoutArguments = new Set<string>();
  const withoutAnswer = new Set<string>();
  return {
    remember(record) {
      const { kind, key, body } = record;
      const { removed, arguments: kept } = (body ?? {}) as {
        readonly removed?: unknown;
        readonly arguments?: unknown;
      };
      // a call that was released is admitted anew, under the policy of then
      if (kind === 'intent' && key !== null) {
        withoutArguments.delete(key);
        if (kept === 'digest') withoutArguments.add(key);
      }
      const into = removed === 'arguments' ? withoutArguments : withoutAnswer;
      for (const call of removedCalls(record)) into.add(call);
    },
    problems: (effects) =>
      effects.flatMap(({ key, state, outcome, request, result }) => [
        ...differs(key, 'arguments', request, !withoutArguments.has(key)),
        // nobody knows what the answer was of one that ended so, and often there is none
        ...(state !== 'closed' || outcome === 'indeterminate'
          ? []
          : differs(key, 'answer', result, !withoutAnswer.has(key))),
      ]),
  };
}

function differs(key: string, what: string, there: boolean, expected: boolean): string[] {
  if (there === expected) return [];
  return [
    expected
      ? `effect ${key} has lost its ${what}`
      : `effect ${key} has its ${what}, which the chain says were removed`,
  ];
}
