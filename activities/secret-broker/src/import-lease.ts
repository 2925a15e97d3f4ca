import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { openSecret } from './crypto.js';
import { Lease } from './lease.js';
import { storedSecret } from './stored-secret.js';

/** What the database says to a host that wants the credential of an import; anything else is a bug and throws. */
const Answer = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('leased'), name: z.string(), version: z.int(), rules: z.int() }),
  z.strictObject({ kind: z.literal('refused'), message: z.string() }),
  z.strictObject({ kind: z.literal('not_ordered') }),
  z.strictObject({ kind: z.literal('fenced') }),
]);

export interface ImportLeaseDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  readonly keyRing: Pick<KeyRing, 'open'>;
  readonly hostId: string;
}

/** Why an import does not get its credential, for the admin who ordered it. */
export interface LeaseRefusal {
  readonly refused: string;
}

/** The credential that an import's order names, for as long as `work` takes; or why it may not be used. */
export type ImportLeases = <T>(
  tenantId: TenantId,
  importId: string,
  work: (lease: Lease) => Promise<T>,
) => Promise<T | LeaseRefusal>;

/**
 * The second way out of the broker: an admin's order instead of an admitted call. The row of the order is what counts, as
 * this host has it under way, and the rules of the secret are those of now. Each use is journalled.
 * @throws BulkheadError SECRET_UNAVAILABLE, KEY_DESTROYED when it cannot be opened; INVALID_STATE for no order under way
 */
export function createImportLeases({ door, keyRing, hostId }: ImportLeaseDeps): ImportLeases {
  return async (tenantId, importId, work) => {
    const db = door.tenant(tenantId);
    const answer = Answer.parse(await db.call('lease_for_import', { id: importId, host: hostId }));
    if (answer.kind === 'refused') return { refused: answer.message };
    if (answer.kind !== 'leased')
      throw new BulkheadError('INVALID_STATE', { internal: `import ${importId}: ${answer.kind}` });
    const { name, version } = answer;
    try {
      const stored = await db.run((tx) => storedSecret(tx, tenantId, name, version));
      const lease = new Lease(
        await openSecret(keyRing, { tenantId, name, version }, stored),
        stored.boundHosts,
      );
      try {
        return await work(lease);
      } finally {
        lease.end();
      }
    } finally {
      // what was revoked meanwhile is in force from here on
      await db.run((tx) => tx.mcpImport.updateMany({ where: { id: importId }, data: { leasedHost: null } }));
    }
  };
}
