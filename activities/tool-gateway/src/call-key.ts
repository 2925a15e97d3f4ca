import { createHash } from 'node:crypto';
import { callText, canonicalJson } from '@bulkhead/contract';
import type { CallIdentity, CallKey, Json, TenantId } from '@bulkhead/contract';

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

/**
 * Names one effect for ever: no attempt, no Temporal run id, so a retry, a crash and a reset meet the same entry. The
 * workflow id comes from the activity's own info, never from arguments.
 * @throws TypeError when the arguments have no canonical text.
 */
export const callKey = (call: CallIdentity): CallKey => sha256(callText(call)) as CallKey;

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
