import { createHash, randomInt, timingSafeEqual } from 'node:crypto';

/**
 * Roles of members and API keys of a tenant. What each may do is the API's table (apps/api/src/auth/roles.ts). Policies
 * name them as approvers, so a name is never changed.
 */
export const ROLES = ['admin', 'workflow-author', 'operator', 'auditor', 'viewer'] as const;
export type Role = (typeof ROLES)[number];

/** What a key is for: `bhk` acts in a tenant, `bho` operates the platform. */
export type KeyKind = 'bhk' | 'bho';

/** `<kind>_<prefix>_<secret>`: the prefix finds the row and may be shown; the secret has about 190 bits. */
export interface ApiKeyParts {
  readonly kind: KeyKind;
  readonly prefix: string;
  /** SHA-256 of the whole key. A plain hash is enough: the secret is random, there is nothing to guess. */
  readonly hash: Buffer;
}

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const KEY = /^(bhk|bho)_([0-9A-Za-z]{8})_[0-9A-Za-z]{32}$/;

/** A new random key; the text exists only in this answer. */
export function newApiKey(kind: KeyKind = 'bhk'): ApiKeyParts & { readonly key: string } {
  const prefix = randomText(8);
  const key = `${kind}_${prefix}_${randomText(32)}`;
  return { kind, key, prefix, hash: hashOf(key) };
}

/** undefined when the text is not even shaped like a key. */
export function parseApiKey(text: string): ApiKeyParts | undefined {
  const [, kind, prefix] = KEY.exec(text) ?? [];
  return prefix === undefined ? undefined : { kind: kind as KeyKind, prefix, hash: hashOf(text) };
}

/** Compares in constant time, so that the answer's timing does not reveal how much of a forged key was right. */
export function sameHash(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest();

const randomText = (length: number): string =>
  Array.from({ length }, () => ALPHABET.charAt(randomInt(ALPHABET.length))).join('');
