import { createCipheriv, createDecipheriv, createSecretKey, KeyObject, randomFillSync } from 'node:crypto';

const IV_BYTES = 12;
const TAG_BYTES = 16;
export const KEY_BYTES = 32;

type Key = Uint8Array | KeyObject;

/** Bytes that own their memory, which is what the database driver takes. */
export type Bytes = Buffer<ArrayBuffer>;

/**
 * AES-256-GCM as `iv(12) tag(16) ciphertext`. `context` is authenticated, not stored: opening under another context
 * fails, so a ciphertext copied to another tenant's or another secret's row is worthless.
 */
export function encrypt(key: Key, context: readonly string[], plaintext: Uint8Array): Bytes {
  const iv = freshIv();
  const cipher = createCipheriv('aes-256-gcm', prepared(key), iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(aad(context));
  const body = cipher.update(plaintext);
  cipher.final(); // of this mode it has no bytes
  return Buffer.concat([iv, cipher.getAuthTag(), body]);
}

/** @throws Error when the text was changed, or sealed with another key or for another context. */
export function decrypt(key: Key, context: readonly string[], sealed: Uint8Array): Bytes {
  if (sealed.length < IV_BYTES + TAG_BYTES) throw new Error('the ciphertext is too short');
  const iv = sealed.subarray(0, IV_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', prepared(key), iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(aad(context));
  decipher.setAuthTag(sealed.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
  const body = decipher.update(sealed.subarray(IV_BYTES + TAG_BYTES));
  decipher.final(); // throws unless everything is as it was sealed
  return body as Bytes;
}

/** Given the bytes of a key, Node's ciphers prepare it themselves, for ten times what this takes. */
const prepared = (key: Key): KeyObject => (key instanceof KeyObject ? key : createSecretKey(key));

/** Random bytes, fetched for many IVs at once: asking the system for twelve takes as long as encrypting a kilobyte. */
const supply = Buffer.alloc(IV_BYTES * 256);
let taken = supply.length;

function freshIv(): Buffer {
  if (taken === supply.length) {
    randomFillSync(supply);
    taken = 0;
  }
  // a copy, because the supply is written again; none is given out twice
  const iv = Buffer.from(supply.subarray(taken, taken + IV_BYTES));
  taken += IV_BYTES;
  return iv;
}

/** JSON, not concatenation: ['a', 'bc'] and ['ab', 'c'] must not be the same context. */
const aad = (context: readonly string[]): Buffer => Buffer.from(JSON.stringify(context), 'utf8');
