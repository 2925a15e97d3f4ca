import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';

/** Makes the tenant's wrapped key-encryption key (runtime/keys). */
export interface TenantKeys {
  newTenantKey(tenantId: TenantId): { readonly keyId: string; readonly wrapped: Uint8Array };
}

export interface TenantKey {
  readonly keyId: string;
  /** active | retired | destroyed */
  readonly state: string;
  readonly createdAt: Date;
}

/** From the point of no return on: what is to be erased must not grow. */
const ERASED: readonly string[] = ['erasing', 'offboarded'];

/**
 * Makes a new active key; the one before is retired: it opens what it sealed, by its id, and seals nothing more. Every
 * process seals with the new one within 10 s. Rotate at the latest after 2^32 payloads of one key, the bound of AES-GCM
 * with random nonces.
 * @throws BulkheadError NOT_FOUND (no such tenant), KEY_DESTROYED (a tenant that is shredded, or is to be, gets no new key)
 */
export async function rotateTenantKey(
  db: TenantDb,
  keys: TenantKeys,
  order: { readonly actor: string; readonly reason: string },
): Promise<{ readonly keyId: string; readonly retired: string }> {
  const { tenantId } = db;
  const { keyId, wrapped } = keys.newTenantKey(tenantId);
  return db.change(async (tx) => {
    const tenant = await tx.tenant.findUnique({ where: { id: tenantId }, select: { status: true } });
    if (tenant && ERASED.includes(tenant.status)) throw new BulkheadError('KEY_DESTROYED');
    const known = await tx.tenantKey.findMany({ select: { keyId: true, state: true } });
    const active = known.find(({ state }) => state === 'active');
    if (!active) throw new BulkheadError(known.length === 0 ? 'NOT_FOUND' : 'KEY_DESTROYED');
    await tx.tenantKey.updateMany({ where: { keyId: active.keyId }, data: { state: 'retired' } });
    await tx.tenantKey.create({ data: { tenantId, keyId, wrapped: new Uint8Array(wrapped) } });
    const body = { change: 'tenant_key_rotated', from: active.keyId, to: keyId, ...order };
    await tx.journalRecord.create({ data: { tenantId, kind: 'control', body } });
    return { keyId, retired: active.keyId };
  });
}

/** The tenant's keys, newest first, without what they are made of. */
export function listTenantKeys(db: TenantDb): Promise<TenantKey[]> {
  const select = { keyId: true, state: true, createdAt: true };
  return db.run((tx) => tx.tenantKey.findMany({ select, orderBy: { createdAt: 'desc' } }));
}
