import { inject } from 'vitest';
import type { PayloadCodec } from '@temporalio/common';
import { tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { createTenantCodec } from '@bulkhead/runtime/codec';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing, WrappedTenantKey } from '@bulkhead/runtime/keys';

/** Keys of tenants that are in no database: made on first use, kept for as long as the test runs. */
export interface TestKeys {
  readonly keyRing: KeyRing;
  codecOf(tenantId: TenantId): PayloadCodec;
  /** As a database would hold it, for a process of its own. */
  wrappedKeyOf(tenantId: TenantId): WrappedTenantKey;
}

export function createTestKeys(): TestKeys {
  const rows = new Map<TenantId, WrappedTenantKey>();
  const keyRing: KeyRing = createKeyRing({
    masterKeyPath: inject('servers').keys.master,
    loadTenantKey: async (tenantId, keyId) => {
      if (keyId?.includes('\0')) throw new TypeError('no column can hold U+0000'); // as the database does
      const row = wrappedKeyOf(tenantId);
      return keyId === undefined || keyId === row.keyId ? row : undefined;
    },
  });
  const wrappedKeyOf = (tenantId: TenantId): WrappedTenantKey => {
    const row = rows.get(tenantId) ?? keyRing.newTenantKey(tenantId);
    rows.set(tenantId, row);
    return row;
  };
  return { keyRing, codecOf: (tenantId) => createTenantCodec(tenantId, keyRing), wrappedKeyOf };
}

/** Another tenant's key, which says that it is `victim`'s. */
export function impostorOf(victim: TenantId): Pick<PayloadCodec, 'encode'> {
  const own = createTestKeys().codecOf(tenantId('mallory'));
  return {
    encode: async (payloads) =>
      (await own.encode(payloads)).map((payload) => ({
        ...payload,
        metadata: { ...payload.metadata, tenant: Buffer.from(victim) },
      })),
  };
}
