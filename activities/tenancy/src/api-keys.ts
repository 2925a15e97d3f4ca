import { createHash, randomInt, timingSafeEqual } from 'node:crypto';

/** Roles of an API key, from most to least. What each may do is the API's table (apps/api/src/auth/permission.ts). */
export const ROLES = ['admin', 'operator', 'viewer'] as const;
export type Role = (typeof ROLES)[number];

/** `bhk_<prefix>_<secret>`: the prefix finds the row and may be shown; the secret has about 190 bits. */
export interface ApiKeyParts {
  readonly prefix: string;
  /** SHA-256 of the whole key. A plain hash is enough: the secret is random, there is nothing to guess. */
  readonly hash: Buffer;
}

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const KEY = /^bhk_([0-9A-Za-z]{8})_[0-9A-Za-z]{32}$/;

/** A new random key; the text exists only in this answer. */
export function newApiKey(): ApiKeyParts & { readonly key: string } {
  const prefix = randomText(8);
  const key = `bhk_${prefix}_${randomText(32)}`;
  return { key, prefix, hash: hashOf(key) };
}

/** undefined when the text is not even shaped like a key. */
export function parseApiKey(text: string): ApiKeyParts | undefined {
  const prefix = KEY.exec(text)?.[1];
  return prefix === undefined ? undefined : { prefix, hash: hashOf(text) };
}

/** Compares in constant time, so that the answer's timing does not reveal how much of a forged key was right. */
export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest();

const randomText = (length: number): string =>
  Array.from({ length }, () => ALPHABET.charAt(randomInt(ALPHABET.length))).join('');
