import { performance } from 'node:perf_hooks';
import { BulkheadError, TenantCache } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { compilePolicy, PolicyDocumentSchema } from '@bulkhead/contract/policy';
import type { CompiledPolicy, PolicyApproval, PolicyFacts } from '@bulkhead/contract/policy';
import type { TenantDoor } from '@bulkhead/prisma/tenant';

export type { PolicyFacts } from '@bulkhead/contract/policy';

declare const decided: unique symbol;

/** A ticket that only this room can make: these facts were allowed by that rule of that version. */
export interface AllowDecision {
  readonly [decided]: true;
  readonly kind: 'allow';
  readonly profile: string;
  readonly policyVersion: number;
  readonly rule: string;
  /** Obligation: a person decides first. */
  readonly approval?: PolicyApproval;
}
export interface DenyDecision {
  readonly kind: 'deny';
  /** 0: the tenant has no policy under this profile. */
  readonly policyVersion: number;
  readonly rule: string;
  readonly message: string;
}
export type Decision = AllowDecision | DenyDecision;

/** The tickets made by this process. The brand holds at compile time; this holds when a guard is replaced at run time. */
const issued = new WeakMap<object, TenantId>();

/** Whether that is an allow decision that this room itself made, for that tenant. */
export const decidedFor = (tenantId: TenantId, decision: AllowDecision): boolean =>
  issued.get(decision) === tenantId;

export interface PolicyDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  /** Monotonic milliseconds; the default is the process clock. */
  readonly nowMs?: () => number;
}

export interface Policy {
  /**
   * Decides on the version in force. `fresh` skips what is remembered, after admit said that the policy moved.
   * No policy and an unreadable one deny. @throws BulkheadError POLICY_UNAVAILABLE when it cannot be read at all.
   */
  authorise(
    tenantId: TenantId,
    profile: string,
    facts: PolicyFacts,
    options?: { readonly fresh: boolean },
  ): Promise<Decision>;
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
  const heads = new TenantCache<Head | undefined>({ max: HEADS_MAX, freshMs: HEAD_MS, nowMs });

  const headOf = async (tenantId: TenantId, profile: string, fresh: boolean): Promise<Head | undefined> => {
    const known = heads.get(tenantId, [profile]);
    if (known?.fresh && !fresh) return known.value;
    const head = await load(deps.door, tenantId, profile, known?.value);
    heads.set(tenantId, [profile], head);
    return head;
  };

  return {
    async authorise(tenantId, profile, facts, options) {
      const head = await headOf(tenantId, profile, options?.fresh ?? false);
      if (!head) return deny(0, 'no-policy', `There is no policy for ${profile}, so nothing is allowed.`);
      if (!head.policy) {
        return deny(head.version, 'policy-unreadable', 'The policy cannot be read, so nothing is allowed.');
      }
      const verdict = head.policy.evaluate(facts);
      if (verdict.kind === 'deny') return deny(head.version, verdict.rule, verdict.message);
      const decision = { ...verdict, profile, policyVersion: head.version } as AllowDecision;
      issued.set(decision, tenantId);
      return decision;
    },
  };
}

const deny = (policyVersion: number, rule: string, message: string): DenyDecision => ({
  kind: 'deny',
  policyVersion,
  rule,
  message,
});

async function load(
  door: PolicyDeps['door'],
  tenantId: TenantId,
  profile: string,
  known: Head | undefined,
): Promise<Head | undefined> {
  try {
    return await door.tenant(tenantId).run(async (tx) => {
      const head = await tx.policyHead.findUnique({ where: { tenantId_profile: { tenantId, profile } } });
      if (!head) return undefined;
      if (known?.version === head.version) return known;
      const { version } = head;
      const row = await tx.policy.findUnique({
        where: { tenantId_profile_version: { tenantId, profile, version } },
      });
      const document = PolicyDocumentSchema.safeParse(row?.document);
      return { version, policy: document.success ? compilePolicy(document.data) : undefined };
    });
  } catch (cause) {
    throw new BulkheadError('POLICY_UNAVAILABLE', {
      internal: `policy of ${tenantId} cannot be read`,
      cause,
    });
  }
}
