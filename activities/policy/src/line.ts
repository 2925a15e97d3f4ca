import { performance } from 'node:perf_hooks';
import { z } from 'zod';
import { BulkheadError, TenantCache } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { compilePolicy, NEVER, NOTHING_YET, parsePolicy, timeFacts } from '@bulkhead/contract/policy';
import type {
  CallFacts,
  CompiledPolicy,
  OpenCall,
  PolicyAllow,
  PolicyFacts,
  Reach,
  RunFacts,
} from '@bulkhead/contract/policy';
import type { TenantDoor } from '@bulkhead/prisma/tenant';

export type { CallFacts } from '@bulkhead/contract/policy';

declare const decided: unique symbol;

/** A ticket that only this room can make: these facts were allowed by that rule of that version. */
export interface AllowDecision extends PolicyAllow {
  readonly [decided]: true;
  readonly profile: string;
  readonly policyVersion: number;
  /** What was judged. */
  readonly facts: PolicyFacts;
  /** Whether that version keeps the arguments of a call, or only what proves them. */
  readonly keepsArguments: boolean;
}
export interface DenyDecision {
  readonly kind: 'deny';
  /** 0: the tenant has no policy under this profile. */
  readonly policyVersion: number;
  readonly rule: string;
  readonly message: string;
}
export type Decision = AllowDecision | DenyDecision;

/** How old what a call is judged by may be: the document, what the run has done, the time of day. */
const STALE_MS = 5_000;
/** How long reading it may take. */
const DEADLINE_MS = 3_000;

/** The tickets made by this process. The brand holds at compile time; this holds when a guard is replaced at run time. */
const issued = new WeakMap<object, { readonly tenantId: TenantId; readonly staleAtMs: number }>();

/** Whether that is an allow decision that this room itself made, for that tenant. */
export const decidedFor = (tenantId: TenantId, decision: AllowDecision): boolean =>
  issued.get(decision)?.tenantId === tenantId;

/** Whether what it was decided by is still recent enough; false for what is no ticket. */
export const isRecent = (decision: AllowDecision): boolean =>
  performance.now() < (issued.get(decision)?.staleAtMs ?? 0);

export interface PolicyDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  /** Monotonic milliseconds; the default is the process clock. */
  readonly nowMs?: () => number;
  /** The time of day that rules look at; the default is the machine's clock. */
  readonly now?: () => Date;
  /** How long one read may take, default 3 s. */
  readonly deadlineMs?: number;
}

export interface Policy {
  /**
   * Decides on the version in force. `fresh` skips what is remembered, after admit said that the policy moved.
   * No policy and an unreadable one deny. @throws BulkheadError POLICY_UNAVAILABLE when it cannot be read in time.
   */
  authorise(
    tenantId: TenantId,
    profile: string,
    call: CallFacts,
    options?: { readonly fresh: boolean },
  ): Promise<Decision>;
  /**
   * What the version in force says to tools before they are called; it is read anew. No policy and an unreadable one
   * allow nothing. @throws BulkheadError POLICY_UNAVAILABLE when it cannot be read in time.
   */
  reach(tenantId: TenantId, profile: string): Promise<(call: OpenCall) => Reach>;
}

interface Head {
  readonly version: number;
  /** undefined: the document in force does not parse. */
  readonly policy: CompiledPolicy | undefined;
}

/** admit compares the version under its lock, so a remembered head can cost a second try and never a wrong admission. */
const HEAD_MS = 1_000;
const HEADS_MAX = 2_000;

export function createPolicy(deps: PolicyDeps): Policy {
  const nowMs = deps.nowMs ?? (() => performance.now());
  const now = deps.now ?? (() => new Date());
  const deadlineMs = deps.deadlineMs ?? DEADLINE_MS;
  const heads = new TenantCache<Head | undefined>({ max: HEADS_MAX, freshMs: HEAD_MS, nowMs });

  const reading = new Map<string, Promise<Head | undefined>>();

  const read = async (tenantId: TenantId, profile: string): Promise<Head | undefined> => {
    const known = heads.get(tenantId, [profile])?.value;
    const head = await inTime(deadlineMs, tenantId, load(deps.door, tenantId, profile, known));
    heads.set(tenantId, [profile], head);
    return head;
  };

  const headOf = async (tenantId: TenantId, profile: string, fresh: boolean): Promise<Head | undefined> => {
    const known = heads.get(tenantId, [profile]);
    if (known?.fresh && !fresh) return known.value;
    // who was told that the policy moved must not get what somebody began to read before
    if (fresh) return read(tenantId, profile);
    // calls that find it too old at the same moment share one read
    const place = JSON.stringify([tenantId, profile]);
    const shared = reading.get(place) ?? read(tenantId, profile).finally(() => reading.delete(place));
    reading.set(place, shared);
    return shared;
  };

  return {
    async authorise(tenantId, profile, call, options) {
      const began = performance.now();
      const head = await headOf(tenantId, profile, options?.fresh ?? false);
      if (!head) return deny(0, 'no-policy', `There is no policy for ${profile}, so nothing is allowed.`);
      if (!head.policy) {
        return deny(head.version, 'policy-unreadable', 'The policy cannot be read, so nothing is allowed.');
      }
      const asks = head.policy.asksRun(call.tool);
      const run = asks
        ? await inTime(deadlineMs, tenantId, readRun(deps.door, tenantId, call, asks.done))
        : NOTHING_YET;
      const facts = { ...call, time: timeFacts(now()), run };
      const verdict = head.policy.evaluate(facts);
      if (verdict.kind === 'deny') return deny(head.version, verdict.rule, verdict.message);
      const keepsArguments = head.policy.settings.arguments === 'kept';
      const policyVersion = head.version;
      const decision = { ...verdict, profile, policyVersion, facts, keepsArguments } as AllowDecision;
      issued.set(decision, { tenantId, staleAtMs: began + STALE_MS - HEAD_MS });
      return decision;
    },
    async reach(tenantId, profile) {
      const { policy } = (await headOf(tenantId, profile, true)) ?? {};
      return (call) => policy?.reach(call) ?? NEVER;
    },
  };
}

const deny = (policyVersion: number, rule: string, message: string): DenyDecision => ({
  kind: 'deny',
  policyVersion,
  rule,
  message,
});

/** A store that does not answer is one that is away: nobody waits for it with a call in hand. */
async function inTime<T>(deadlineMs: number, tenantId: TenantId, reading: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(unavailable(tenantId, `was not read within ${deadlineMs} ms`)),
    deadlineMs,
  );
  try {
    return await Promise.race([reading, late]);
  } catch (cause) {
    if (cause instanceof BulkheadError && cause.code === 'POLICY_UNAVAILABLE') throw cause;
    throw unavailable(tenantId, 'cannot be read', cause);
  } finally {
    clearTimeout(timer);
  }
}

const unavailable = (tenantId: TenantId, what: string, cause?: unknown): BulkheadError =>
  new BulkheadError('POLICY_UNAVAILABLE', { internal: `policy of ${tenantId} ${what}`, cause });

/** One round trip, asked once a second for each profile at work; the document is sent only when it is another one. */
const HEAD = {
  name: 'policy_head',
  text: `SELECT h.version, p.document FROM policy_heads h
    LEFT JOIN policies p ON p.tenant_id = h.tenant_id AND p.profile = h.profile AND p.version = h.version AND h.version <> $3
   WHERE h.tenant_id = $1 AND h.profile = $2`,
};
/** No document has it. */
const NO_VERSION = -1;

async function load(
  door: PolicyDeps['door'],
  tenantId: TenantId,
  profile: string,
  known: Head | undefined,
): Promise<Head | undefined> {
  const [row] = await door
    .tenant(tenantId)
    .read<{ version: number; document: unknown }>(HEAD, [tenantId, profile, known?.version ?? NO_VERSION]);
  if (!row) return undefined;
  const { version, document } = row;
  if (known?.version === version) return known;
  const parsed = parsePolicy(document);
  return { version, policy: parsed.kind === 'document' ? compilePolicy(parsed.document) : undefined };
}

const RunRow = z.strictObject({ read: z.array(z.string()), done: z.array(z.string()) });

async function readRun(
  door: PolicyDeps['door'],
  tenantId: TenantId,
  { runId }: CallFacts,
  tools: readonly string[],
): Promise<RunFacts> {
  return RunRow.parse(await door.tenant(tenantId).call('run_facts', { runId, tools }));
}
