import type { Json } from './canonical-json.js';
import type { TenantId } from './ids.js';

/**
 * A Temporal payload that only its tenant's key opens, in the form in which it stands in a JSON column. The API seals,
 * the control process carries it to Temporal and back without being able to read it.
 */
export interface SealedPayload {
  /** Version of this form. */
  readonly sealed: 1;
  readonly tenant: TenantId;
  readonly keyId: string;
  /** Base64 of `iv(12) tag(16) ciphertext`. */
  readonly data: string;
  readonly [key: string]: Json;
}

/** Seals the arguments of a workflow's start or of a signal, one payload each, with the tenant's active key. */
export type SealArguments = (tenantId: TenantId, args: readonly Json[]) => Promise<readonly SealedPayload[]>;

/** The sealed payload that a JSON value is, when it is one and belongs to this tenant. */
export function sealedPayloadOf(tenantId: TenantId, value: unknown): SealedPayload | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { sealed, tenant, keyId, data } = value as Partial<SealedPayload>;
  if (sealed !== 1 || tenant !== tenantId || typeof keyId !== 'string' || typeof data !== 'string')
    return undefined;
  return { sealed, tenant, keyId, data };
}
