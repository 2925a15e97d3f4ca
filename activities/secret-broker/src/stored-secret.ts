import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TenantClient } from '@bulkhead/prisma/tenant';
import type { SealedSecret } from './crypto.js';

export interface StoredSecret extends SealedSecret {
  readonly boundHosts: readonly string[];
}

/** One version as it is stored, and where its value may go. @throws BulkheadError SECRET_UNAVAILABLE when it is not active */
export async function storedSecret(
  tx: TenantClient,
  tenantId: TenantId,
  name: string,
  version: number,
): Promise<StoredSecret> {
  const secret = await tx.secret.findUnique({ where: { tenantId_name: { tenantId, name } } });
  const row = await tx.secretVersion.findUnique({
    where: { tenantId_name_version: { tenantId, name, version } },
  });
  if (!secret || row?.state !== 'active') {
    throw new BulkheadError('SECRET_UNAVAILABLE', { internal: `secret ${name} v${version} is not active` });
  }
  return { boundHosts: secret.boundHosts, wrappedKey: row.wrappedKey, ciphertext: row.ciphertext };
}
