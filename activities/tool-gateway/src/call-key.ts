import { createHash } from 'node:crypto';
import { canonicalJson } from '@bulkhead/contract';
import type { CallKey, Json, TenantId } from '@bulkhead/contract';

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

/**
 * Names one effect for ever: no attempt, no Temporal run id, so a retry, a crash and a reset meet the same entry.
 * @throws TypeError when the arguments have no canonical text.
 */
export function callKey(call: {
  readonly tenantId: TenantId;
  /** From the activity's own info, never from arguments. */
  readonly workflowId: string;
  readonly segment: number;
  readonly toolId: string;
  readonly args: Json;
  readonly n: number;
}): CallKey {
  const { tenantId, workflowId, segment, toolId, args, n } = call;
  return sha256(canonicalJson([tenantId, workflowId, segment, toolId, args, n])) as CallKey;
}

/** What a tool sees; derived, so that nobody who sees it learns the key. */
export const idempotencyKey = (key: CallKey): string => `bh-${sha256(`idempotency:${key}`).slice(0, 40)}`;

/** What an approval is bound to: exactly this call, to exactly this place, with exactly these arguments. */
export function approvalDigest(call: {
  readonly tenantId: TenantId;
  readonly runId: string;
  readonly key: CallKey;
  readonly toolId: string;
  readonly toolVersion: number;
  readonly destination: string;
  readonly credential: string | null;
  readonly args: Json;
}): string {
  return sha256(canonicalJson({ ...call }));
}
