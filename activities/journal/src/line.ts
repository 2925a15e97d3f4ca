import { setTimeout as sleep } from 'node:timers/promises';
import { BulkheadError } from '@bulkhead/contract';
import type { CallKey, Json, OutcomeKind, Reason, RunId, TenantId, ToolId } from '@bulkhead/contract';
import { decidedFor, isRecent } from '@bulkhead/policy/line';
import type { AllowDecision } from '@bulkhead/policy/line';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { AdmitAnswer, DecideAnswer, SettleAnswer } from './answers.js';

export { removeContent } from './removal.js';
export { createRefusalJournal } from './refusals.js';
export type { RefusalJournal } from './refusals.js';

declare const admitted: unique symbol;

/** A ticket that only this room can make: the intent of this effect is committed and this attempt holds it. */
export interface Admission {
  readonly [admitted]: true;
  readonly tenantId: TenantId;
  readonly key: CallKey;
  readonly toolId: ToolId;
  readonly host: string;
  readonly token: string;
  /** An earlier attempt of the call may have reached the receiver. */
  readonly repeat: boolean;
  /** Whether what the call carries may be kept with its entry. */
  readonly keepsArguments: boolean;
  /** `rules`: number of the rules by which it was admitted. */
  readonly secret: { readonly name: string; readonly version: number; readonly rules: number } | undefined;
}

/** What names an attempt's hold on an entry. */
type Held = Pick<Admission, 'tenantId' | 'key' | 'host' | 'token'>;

/** The tickets made by this process and not settled yet: what a replaced guard makes up is not one of them. */
const issued = new WeakSet<object>();

/**
 * Whether this room itself made that ticket, from what admit answered, and its effect is still this attempt's to carry.
 * It is frozen: tenant, call key, host and attempt are those that were admitted.
 */
export const isAdmission = (admission: Admission): boolean => issued.has(admission);

/** Everything about one call that admit judges or writes down. */
export interface Call {
  readonly runId: RunId;
  readonly workflowId: string;
  readonly temporalRunId: string;
  readonly agentId: string;
  readonly key: CallKey;
  readonly toolId: ToolId;
  readonly toolVersion: number;
  readonly effectClass: 'read' | 'write' | 'irreversible';
  readonly idempotency: 'keyed' | 'natural' | 'none';
  readonly system: string;
  readonly access: 'read' | 'mutate';
  readonly secretName: string | undefined;
  readonly grantId: string | undefined;
  readonly target: string;
  /** Hex SHA-256 of what an approval would be bound to. */
  readonly digest: string;
  /** Facts and action, sealed for this tenant. */
  readonly request: Uint8Array;
  readonly requestedBy: string;
  /** Used when an approval has to be created. */
  readonly newApprovalId: string;
  readonly host: string;
  /** Names this attempt; random, because Temporal's attempt number starts again after a reset. */
  readonly token: string;
  readonly timeoutMs: number;
  /** What it costs, in millionths; 0: nothing is counted. */
  readonly costMicros: number;
}

export type Admitted =
  { readonly kind: 'admitted'; readonly admission: Admission } | Exclude<AdmitAnswer, { kind: 'admitted' }>;

export type Settlement =
  | {
      readonly ending: 'answered';
      readonly outcome: OutcomeKind;
      readonly result: Uint8Array;
      /** Classes of data that the answer may carry; none when omitted. */
      readonly reads?: readonly string[];
      /** What it really cost, when the answer says so; else what was reserved. */
      readonly costMicros?: number;
      /** The call that undoes it, sealed for this tenant. */
      readonly undo?: Uint8Array;
    }
  /** By this attempt. What an earlier one may have sent stays open all the same. */
  | { readonly ending: 'not_sent' }
  | { readonly ending: 'unknown' };

export interface Refusal {
  readonly runId: RunId;
  readonly key: string;
  readonly toolId: string;
  readonly kind: OutcomeKind;
  readonly policyVersion: number;
  readonly reason: Reason;
}

export interface Journal {
  /** One commit: decision, reservation and intent, or the reason why not. */
  admit(tenantId: TenantId, decision: AllowDecision, call: Call): Promise<Admitted>;
  /**
   * One commit: how the request ended. Runs outside any cancelled scope. While the database is away it tries again
   * until the deadline, then throws DATABASE_UNAVAILABLE and goes on trying in the background, because as long as
   * this process lives nobody else may say that its attempt has ended.
   */
  settle(admission: Admission, settlement: Settlement): Promise<SettleAnswer>;
  /** Records a refusal that never got to admit. A closed answer means: this call was done earlier, give that answer. */
  decide(tenantId: TenantId, refusal: Refusal): Promise<DecideAnswer>;
}

export interface JournalDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  /** Ends the background settling when the process stops. */
  readonly stop: AbortSignal;
  /** How long settle keeps its caller waiting; default 20 s. */
  readonly settleDeadlineMs?: number;
}

const RETRY_MS_MAX = 2_000;

export function createJournal(deps: JournalDeps): Journal {
  const deadlineMs = deps.settleDeadlineMs ?? 20_000;

  const settleOnce = async (admission: Held, settlement: Settlement): Promise<SettleAnswer> => {
    const { tenantId, key, host, token } = admission;
    const { ending } = settlement;
    const answer = await deps.door
      .tenant(tenantId)
      .call('settle', { key, host, token, ending, ...endingArgument(settlement) }, resultOf(settlement));
    return SettleAnswer.parse(answer);
  };

  const settleUntilDone = async (admission: Held, settlement: Settlement): Promise<SettleAnswer> => {
    for (let waitMs = 50; ; waitMs = Math.min(waitMs * 2, RETRY_MS_MAX)) {
      try {
        return await settleOnce(admission, settlement);
      } catch (error) {
        if (!isDatabaseAway(error) || deps.stop.aborted) throw error;
      }
      await sleep(waitMs, undefined, { ref: false });
    }
  };

  return {
    async admit(tenantId, decision, call) {
      if (!decidedFor(tenantId, decision)) {
        throw new BulkheadError('INTERNAL', { internal: 'admit got a decision that policy did not make' });
      }
      // a process that stood still must not act on what it knew before
      if (!isRecent(decision))
        throw new BulkheadError('POLICY_UNAVAILABLE', { internal: 'the decision is stale' });
      try {
        const answer = AdmitAnswer.parse(
          await deps.door.tenant(tenantId).call('admit', admitArgument(decision, call)),
        );
        if (answer.kind !== 'admitted') return answer;
        return { kind: 'admitted', admission: admissionOf(tenantId, decision, call, answer) };
      } catch (error) {
        // the commit may stand although its answer was lost: without this the entry would have a holder that lives
        // and never acts. This attempt sent nothing, so a commit that stands is given back.
        const { key, host, token } = call;
        settleUntilDone({ tenantId, key, host, token }, { ending: 'not_sent' }).catch(() => undefined); // stopped: the fence takes over
        throw error;
      }
    },
    async settle(admission, settlement) {
      issued.delete(admission); // nothing more is sent or leased for it
      const done = settleUntilDone(admission, settlement);
      const { promise: late, reject } = Promise.withResolvers<never>();
      const deadline = setTimeout(() => {
        const internal = `effect ${admission.key} is not settled yet`;
        reject(new BulkheadError('DATABASE_UNAVAILABLE', { internal }));
      }, deadlineMs);
      deadline.unref();
      try {
        return await Promise.race([done, late]);
      } finally {
        clearTimeout(deadline);
        done.catch(() => undefined); // reported by the race, or nobody waits any more and the fence takes over
      }
    },
    async decide(tenantId, refusal) {
      const { reason, ...rest } = refusal;
      return DecideAnswer.parse(
        await deps.door.tenant(tenantId).call('decide', { ...rest, reason: { ...reason } as Json }),
      );
    },
  };
}

function admissionOf(
  tenantId: TenantId,
  { keepsArguments }: AllowDecision,
  call: Call,
  { repeat, secretVersion: version, secretRules: rules }: AdmitAnswer & { kind: 'admitted' },
): Admission {
  const { key, toolId, host, token, secretName: name } = call;
  if ((name === undefined) !== (version === null) || (version === null) !== (rules === null)) {
    throw new BulkheadError('INTERNAL', { internal: 'admit and the tool disagree about the credential' });
  }
  const secret =
    name === undefined || version === null || rules === null
      ? undefined
      : Object.freeze({ name, version, rules });
  const ticket = { tenantId, key, toolId, host, token, repeat, keepsArguments, secret };
  const admission = Object.freeze(ticket) as Admission;
  issued.add(admission);
  return admission;
}

function endingArgument(settlement: Settlement): { [key: string]: Json } {
  if (settlement.ending !== 'answered') return {};
  const { outcome, reads, costMicros, undo } = settlement;
  return {
    outcome,
    ...(reads === undefined ? {} : { reads: [...reads] }),
    ...(costMicros === undefined ? {} : { costMicros }),
    ...(undo === undefined ? {} : { undo: base64(undo) }),
  };
}

function admitArgument(decision: AllowDecision, call: Call): { [key: string]: Json } {
  const { request, requestedBy, newApprovalId, secretName, grantId, costMicros, ...rest } = call;
  return {
    ...rest,
    secretName: secretName ?? null,
    grantId: grantId ?? null,
    request: base64(request),
    policyProfile: decision.profile,
    policyVersion: decision.policyVersion,
    rule: decision.rule,
    approval: decision.approval ? { ...decision.approval, requestedBy, newApprovalId } : null,
    ...(costMicros > 0 ? { costMicros } : {}),
    // sent all the same: a person who is asked to approve has to see it
    ...(decision.keepsArguments ? {} : { keepArguments: false }),
    // absent unless the policy counts or only observes, so that the line does nothing for whom it does neither
    ...(decision.limits ? { limits: decision.limits.map((limit): Json => ({ ...limit })) } : {}),
    ...(decision.observed ? { observed: { ...decision.observed } } : {}),
  };
}

const resultOf = (settlement: Settlement): Uint8Array | undefined =>
  settlement.ending === 'answered' ? sealedBytes(settlement.result) : undefined;

/** A seal that did not seal must not be written down as if it had: only bytes are. */
function sealedBytes(bytes: Uint8Array): Uint8Array {
  if (!(bytes instanceof Uint8Array)) throw new BulkheadError('INTERNAL', { internal: 'not a sealed value' });
  return bytes;
}

const base64 = (bytes: Uint8Array): string => Buffer.from(sealedBytes(bytes)).toString('base64');

const isDatabaseAway = (error: unknown): boolean =>
  error instanceof BulkheadError && error.code === 'DATABASE_UNAVAILABLE';
