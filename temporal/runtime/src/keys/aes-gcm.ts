import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const IV_BYTES = 12;
const TAG_BYTES = 16;
export const KEY_BYTES = 32;

/** Bytes that own their memory, which is what the database driver takes. */
export type Bytes = Buffer<ArrayBuffer>;

/**
 * AES-256-GCM as `iv(12) tag(16) ciphertext`. `context` is authenticated, not stored: opening under another context
 * fails, so a ciphertext copied to another tenant's or another secret's row is worthless.
 */
export function encrypt(key: Uint8Array, context: readonly string[], plaintext: Uint8Array): Bytes {
  const iv = randomBytes(IV_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(aad(context));
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([iv, cipher.getAuthTag(), body]);
}

/** @throws Error when the text was changed, or sealed with another key or for another context. */
export function decrypt(key: Uint8Array, context: readonly string[], sealed: Uint8Array): Bytes {
  if (sealed.length < IV_BYTES + TAG_BYTES) throw new Error('the ciphertext is too short');
  const iv = sealed.subarray(0, IV_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(aad(context));
  decipher.setAuthTag(sealed.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]);
}

/** JSON, not concatenation: ['a', 'bc'] and ['ab', 'c'] must not be the same context. */
const aad = (context: readonly string[]): Buffer => Buffer.from(JSON.stringify(context), 'utf8');
