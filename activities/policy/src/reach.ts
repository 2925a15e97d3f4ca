import type { OpenCall, Reach } from '@bulkhead/contract/policy';
import { compilePolicy, NEVER, parsePolicy } from '@bulkhead/contract/policy';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { policyInForce } from './publish.js';

/**
 * What the policy in force under a profile says to tools before they are called, by the evaluator that decides real
 * calls. No policy, or one that cannot be read, allows nothing.
 */
export async function policyReach(db: TenantDb, profile: string): Promise<(call: OpenCall) => Reach> {
  const row = await policyInForce(db, profile);
  const parsed = parsePolicy(row?.document);
  if (parsed.kind === 'invalid') return () => NEVER;
  const policy = compilePolicy(parsed.document);
  return (call) => policy.reach(call);
}
