import { createECDH, createHash, createPrivateKey, hkdfSync, randomBytes, sign } from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';

/**
 * The keys that sign Temporal tokens: one per tenant and generation, and those of the platform itself. Every private key
 * is derived from one root secret, so which keys exist is a fact of the database alone: a revocation is a commit, and no
 * file of private keys can be forgotten, copied or out of step with it. docs/adr/0006-token-keys.md has the reasons.
 */

/** Not a tenant id, so no tenant can own it. */
export const PLATFORM = '_system';
export type TokenOwner = TenantId | typeof PLATFORM;

export interface TokenKey {
  /** `<root>.<owner>.<generation>`. */
  readonly kid: string;
  /** The public half as the server reads it. */
  readonly jwk: JsonWebKey;
  /** Signs the claims as a JWT (ES256). */
  sign(claims: object): string;
}

export interface TokenRoot {
  /** Names the root in public; says nothing about it. */
  readonly id: string;
  /** @param generation 1 and up; a generation that was dropped is never used again. */
  key(owner: TokenOwner, generation: number): TokenKey;
}

/** Order of the group of P-256 (NIST SP 800-186). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const ROOT_BYTES = 32;
/** Derived keys kept in memory: a thousand tenants during a rotation. */
const KEPT_KEYS_MAX = 4_096;

/** @throws BulkheadError WORKER_MISCONFIGURED when the file does not hold 32 bytes in base64. */
export function openTokenRoot(path: string): TokenRoot {
  const secret = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64');
  if (secret.length !== ROOT_BYTES)
    throw new BulkheadError('WORKER_MISCONFIGURED', { internal: `${path} does not hold 32 bytes in base64` });
  const id = createHash('sha256').update('bulkhead token root\0').update(secret).digest('hex').slice(0, 12);
  const kept = new Map<string, TokenKey>();
  return {
    id,
    key(owner, generation) {
      const kid = `${id}.${owner}.${generation}`;
      const known = kept.get(kid);
      if (known) return known;
      if (kept.size >= KEPT_KEYS_MAX) kept.clear();
      const key = derive(secret, kid);
      kept.set(kid, key);
      return key;
    },
  };
}

function derive(secret: Buffer, kid: string): TokenKey {
  // 16 bytes more than the order has, so that the remainder is as good as uniform (FIPS 186-5, A.2.1)
  const wide = Buffer.from(hkdfSync('sha256', secret, '', `bulkhead temporal token ${kid}`, 48));
  const scalar = (BigInt(`0x${wide.toString('hex')}`) % (ORDER - 1n)) + 1n;
  const d = Buffer.from(scalar.toString(16).padStart(64, '0'), 'hex');
  const curve = createECDH('prime256v1');
  curve.setPrivateKey(d);
  const point = curve.getPublicKey(); // 0x04, x, y
  const jwk = {
    kty: 'EC',
    crv: 'P-256',
    x: point.subarray(1, 33).toString('base64url'),
    y: point.subarray(33).toString('base64url'),
  };
  const key = createPrivateKey({ key: { ...jwk, d: d.toString('base64url') }, format: 'jwk' });
  const header = part({ alg: 'ES256', typ: 'JWT', kid });
  return {
    kid,
    jwk: { ...jwk, kid, alg: 'ES256', use: 'sig' },
    sign: (claims) => signed(`${header}.${part(claims)}`, key),
  };
}

const signed = (text: string, key: KeyObject): string =>
  `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/**
 * Makes the file that the server reads name exactly these keys of this root; keys of other roots (another installation on
 * the same server) stay. All of it or nothing, and not at all when nothing changed.
 * @returns whether the file was written.
 */
export async function publishTokenKeys(
  path: string,
  root: TokenRoot,
  keys: readonly TokenKey[],
): Promise<boolean> {
  const before = await readKeys(path);
  const others = before.filter(({ kid }) => !kid?.startsWith(`${root.id}.`));
  const text = JSON.stringify({ keys: [...others, ...keys.map(({ jwk }) => jwk)] });
  if (text === JSON.stringify({ keys: before })) return false;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, text, { mode: 0o600 });
  await rename(temporary, path);
  return true;
}

async function readKeys(path: string): Promise<(JsonWebKey & { kid?: string })[]> {
  try {
    const { keys } = JSON.parse(await readFile(path, 'utf8')) as { keys: JsonWebKey[] };
    return keys;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
