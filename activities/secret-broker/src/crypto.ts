import { randomBytes } from 'node:crypto';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { decrypt, encrypt, KEY_BYTES, PURPOSES } from '@bulkhead/runtime/keys';
import type { Bytes, KeyRing } from '@bulkhead/runtime/keys';

/** Where a value belongs: authenticated, so a row moved to another tenant, name or version does not open. */
interface Place {
  readonly tenantId: TenantId;
  readonly name: string;
  readonly version: number;
}

export interface SealedSecret {
  readonly wrappedKey: Uint8Array;
  readonly ciphertext: Uint8Array;
}

/** Encrypts a value under a data key of its own, which the tenant's key wraps. */
export async function sealSecret(
  ring: Pick<KeyRing, 'seal'>,
  place: Place,
  value: string,
): Promise<{ readonly wrappedKey: Bytes; readonly ciphertext: Bytes }> {
  const dataKey = randomBytes(KEY_BYTES);
  try {
    const ciphertext = encrypt(dataKey, contextOf(place), Buffer.from(value, 'utf8'));
    const wrappedKey = await ring.seal(
      place.tenantId,
      PURPOSES.secretKey(place.name, place.version),
      dataKey,
    );
    return { wrappedKey, ciphertext };
  } finally {
    dataKey.fill(0);
  }
}

/** @throws BulkheadError SECRET_UNAVAILABLE when it does not belong here, was changed, or its key is not there. */
export async function openSecret(
  ring: Pick<KeyRing, 'open'>,
  place: Place,
  sealed: SealedSecret,
): Promise<Bytes> {
  const dataKey = await ring.open(
    place.tenantId,
    PURPOSES.secretKey(place.name, place.version),
    sealed.wrappedKey,
  );
  try {
    return decrypt(dataKey, contextOf(place), sealed.ciphertext);
  } catch (cause) {
    const { tenantId, name, version } = place;
    throw new BulkheadError('SECRET_UNAVAILABLE', {
      internal: `secret ${name} v${version} of ${tenantId} does not open`,
      cause,
    });
  } finally {
    dataKey.fill(0);
  }
}

const contextOf = ({ tenantId, name, version }: Place): string[] => [
  'secret',
  tenantId,
  name,
  String(version),
];
