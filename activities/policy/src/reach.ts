import type { OpenCall, Reach } from '@bulkhead/contract/policy';
import { compilePolicy, parsePolicy } from '@bulkhead/contract/policy';
import type { TenantDb } from '@bulkhead/prisma/tenant';

const NEVER: Reach = { allowed: 'never', asks: 'never' };

/**
 * What the policy in force under a profile says to tools before they are called, by the evaluator that decides real
 * calls. No policy, or one that cannot be read, allows nothing.
 */
export async function policyReach(db: TenantDb, profile: string): Promise<(call: OpenCall) => Reach> {
  const { tenantId } = db;
  const row = await db.run(async (tx) => {
    const head = await tx.policyHead.findUnique({ where: { tenantId_profile: { tenantId, profile } } });
    if (!head) return undefined;
    const { version } = head;
    return tx.policy.findUnique({ where: { tenantId_profile_version: { tenantId, profile, version } } });
  });
  const parsed = parsePolicy(row?.document);
  if (parsed.kind === 'invalid') return () => NEVER;
  const policy = compilePolicy(parsed.document);
  return (call) => policy.reach(call);
}
