import { BulkheadError, depthExceeds, isStorable } from '@bulkhead/contract';
import type { CallAnswer, Json, Outcome } from '@bulkhead/contract';
import type { Admission, Settlement } from '@bulkhead/journal/line';
import { PURPOSES } from '@bulkhead/runtime/keys';
import type { Lease } from '@bulkhead/secret-broker/line';
import { ANSWER_DEPTH_MAX, failed } from './adapters/adapter.js';
import type { Ending } from './adapters/adapter.js';
import { indeterminate } from './answers.js';
import { KEPT_BYTES_MAX, reportedCost, undoOf } from './compensation.js';
import type { GatewayContext, GatewayDeps } from './deps.js';
import type { CallInFlight } from './in-flight.js';
import type { MatchedCall } from './match.js';
import { publicText } from './public-text.js';
import { createRedactor } from './redact.js';
import type { Redactor } from './redact.js';

/** Attempts after which a request that never gets an answer is closed instead of repeated. */
const ATTEMPTS_MAX = 8;

/**
 * Redacts, closes the entry and gives the outcome; the entry is closed before anybody sees the answer. undefined: a stop
 * broke the call off, and its key may be asked for again.
 */
export async function settleCall(
  deps: Pick<GatewayDeps, 'journal' | 'keyRing'>,
  context: GatewayContext,
  flight: CallInFlight,
  matched: MatchedCall,
  admission: Admission,
  lease: Lease | undefined,
  ended: Ending,
): Promise<CallAnswer | undefined> {
  const ending = checkAnswer(endingOfCall(admission, ended), lease, matched);
  const { settlement, outcome, fault } = await settlementOf(
    deps,
    // what a stop broke off has not used up an attempt
    flight.stopped() ? 0 : context.attempt,
    matched,
    admission,
    ending,
  );
  const settled = await deps.journal.settle(admission, settlement);
  if (settled.kind === 'not_holder') {
    throw new BulkheadError('HOST_FENCED', { internal: `effect ${admission.key} has another holder now` });
  }
  if (settled.state === 'indeterminate') return indeterminate(admission.key);
  if (fault !== undefined) throw fault;
  // stopped before the first byte: the stop is what the workflow has to hear, the entry is released
  if (ending.kind !== 'answered') context.signal.throwIfAborted();
  if (ending.kind !== 'answered' && flight.stopped()) return undefined;
  if (ending.kind === 'not_sent' && ending.refusal === 'host_fenced') {
    throw new BulkheadError('HOST_FENCED', { internal: 'this host stopped itself before the first byte' });
  }
  if (outcome) return outcome;
  throw new BulkheadError('EFFECT_HELD', {
    internal: 'sent without an answer; it is repeated with the same key',
  });
}

interface Settled {
  readonly settlement: Settlement;
  /** undefined: there is none yet, the effect stays open. */
  readonly outcome: Outcome | undefined;
  /** The answer came and could not be kept: it counts as one that never came, so that nobody waits for this attempt. */
  readonly fault?: unknown;
}

async function settlementOf(
  deps: Pick<GatewayDeps, 'keyRing'>,
  attempt: number,
  { spec, args }: MatchedCall,
  { key, tenantId, keepsArguments }: Admission,
  ending: Ending,
): Promise<Settled> {
  /** What only the answer tells: its real cost, and what would undo it. */
  const knownBy = async (answer: Json) => {
    const costMicros = reportedCost(spec, answer);
    // what would undo the call is made of its arguments
    const undo = keepsArguments && spec.compensation && undoOf(spec.compensation, { args, answer });
    const plain = undo && Buffer.from(JSON.stringify(undo), 'utf8');
    return {
      ...(costMicros === undefined ? {} : { costMicros }),
      ...(plain ? { undo: await deps.keyRing.seal(tenantId, PURPOSES.effectUndo, plain) } : {}),
    };
  };
  const close = async (outcome: Outcome): Promise<Settled> => {
    const { key: _, ...stored } = outcome;
    const plain = Buffer.from(JSON.stringify(stored), 'utf8');
    try {
      const result = await deps.keyRing.seal(tenantId, PURPOSES.effectResult, plain);
      // whatever the outcome: the text of a refusal, too, comes from the tool
      const reads = spec.dataClasses.length > 0 ? { reads: spec.dataClasses } : {};
      const known = outcome.kind === 'ok' ? await knownBy(outcome.value) : {};
      return {
        settlement: { ending: 'answered', outcome: outcome.kind, result, ...reads, ...known },
        outcome,
      };
    } catch (fault) {
      return { settlement: { ending: 'unknown' }, outcome: undefined, fault };
    }
  };
  switch (ending.kind) {
    case 'answered':
      if (ending.outcome === 'ok') return close({ kind: 'ok', value: ending.value, key });
      return close({ kind: ending.outcome, reason: { message: ending.message }, key });
    case 'not_sent': {
      const kind = ending.refusal === 'denied' ? 'denied' : 'provider_unavailable';
      return {
        settlement: { ending: 'not_sent' },
        outcome: { kind, reason: { message: ending.message }, key },
      };
    }
    case 'unknown':
      // what honours our key, or what repeating does not change, is asked again, but not for ever: then a read is
      // given up, and a change ends as what it is
      if (spec.idempotency === 'none' || attempt < ATTEMPTS_MAX) {
        return { settlement: { ending: 'unknown' }, outcome: undefined };
      }
      if (spec.effect !== 'read') return close(indeterminate(key));
      return close({ kind: 'provider_unavailable', reason: { message: ending.message }, key });
  }
}

/** What this attempt did not send, an earlier one may have sent: of the call, nobody knows. */
const endingOfCall = ({ repeat }: Admission, ending: Ending): Ending =>
  repeat && ending.kind === 'not_sent' ? { kind: 'unknown', message: ending.message } : ending;

/** What may be kept and shown of an ending: redacted, bounded, of the declared shape. */
function checkAnswer(ending: Ending, lease: Lease | undefined, matched: MatchedCall): Ending {
  const redactor = lease && createRedactor(lease.reveal());
  if (ending.kind !== 'answered' || ending.outcome !== 'ok') {
    // no message either may carry the credential that the tool was given
    return { ...ending, message: publicText(redactor?.text(ending.message) ?? ending.message) };
  }
  // before anything walks it
  if (depthExceeds(ending.value, ANSWER_DEPTH_MAX))
    return failed('The answer of the tool is nested too deeply.');
  const { value, text } = scrubbed(ending.value, redactor);
  // a larger one would have to become an artifact
  if (Buffer.byteLength(text, 'utf8') > KEPT_BYTES_MAX) return failed('The answer of the tool is too large.');
  if (!isStorable(text)) return failed('The answer of the tool contains text that is not valid Unicode.');
  if (matched.answerFits && !matched.answerFits(value)) {
    return failed('The answer of the tool does not fit its declared schema.');
  }
  return { ...ending, value };
}

/** The answer without the credential, and its JSON text; nearly always nothing is in it, which the text alone tells. */
function scrubbed(answer: Json, redactor: Redactor | undefined): { value: Json; text: string } {
  const text = JSON.stringify(answer);
  if (!redactor?.suspects(text)) return { value: answer, text };
  const value = redactor.json(answer);
  return { value, text: JSON.stringify(value) };
}
