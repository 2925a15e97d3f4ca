import { createPublicKey, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errors, jwtVerify } from 'jose';
import type { JSONWebKeySet } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import { openTokenRoot, PLATFORM, publishTokenKeys } from './token-keys.js';
import type { TokenKey, TokenRoot } from './token-keys.js';

const ACME = tenantId('acme');
let folder: string;
let root: TokenRoot;
const newRoot = (name: string): string => {
  const path = join(folder, name);
  writeFileSync(path, randomBytes(32).toString('base64'));
  return path;
};

async function verifies(key: TokenKey, token: string): Promise<boolean> {
  try {
    await jwtVerify(token, createPublicKey({ key: key.jwk, format: 'jwk' }), { algorithms: ['ES256'] });
    return true;
  } catch (error) {
    if (error instanceof errors.JWSSignatureVerificationFailed) return false;
    throw error;
  }
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'token-keys-'));
  root = openTokenRoot(newRoot('root.key'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('the keys of a root', () => {
  it('are the same each time the root is opened', () => {
    const path = newRoot('again.key');
    const [first, again] = [openTokenRoot(path), openTokenRoot(path)];
    expect(again.key(ACME, 3).jwk).toEqual(first.key(ACME, 3).jwk);
  });

  it('differ by owner, generation and root, so no token of one is verified by another', async () => {
    const keys = [
      root.key(ACME, 1),
      root.key(ACME, 2),
      root.key(tenantId('acme-1'), 1),
      root.key(PLATFORM, 1),
      openTokenRoot(newRoot('other.key')).key(ACME, 1),
    ];
    for (const signer of keys) {
      const verifiedBy = await Promise.all(keys.map((key) => verifies(key, signer.sign({ sub: 'x' }))));
      expect(keys.filter((_key, index) => verifiedBy[index])).toEqual([signer]);
    }
  });

  it('publish nothing of their private half', () => {
    expect(Object.keys(root.key(ACME, 1).jwk).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
  });

  it('need a root of 32 bytes', () => {
    const path = join(folder, 'short.key');
    writeFileSync(path, randomBytes(31).toString('base64'));
    expect(() => openTokenRoot(path)).toThrow(expect.objectContaining({ code: 'WORKER_MISCONFIGURED' }));
  });
});

describe('the published file', () => {
  const kids = (path: string): (string | undefined)[] =>
    (JSON.parse(readFileSync(path, 'utf8')) as JSONWebKeySet).keys.map(({ kid }) => kid);

  it('names exactly the keys given, privately, and leaves those of another root alone', async () => {
    const path = join(folder, 'published', 'keys.json');
    const other = openTokenRoot(newRoot('neighbour.key'));
    await publishTokenKeys(path, other, [other.key(PLATFORM, 1)]);
    expect(await publishTokenKeys(path, root, [root.key(PLATFORM, 1), root.key(ACME, 1)])).toBe(true);
    expect(await publishTokenKeys(path, root, [root.key(PLATFORM, 1), root.key(ACME, 1)])).toBe(false);
    expect(await publishTokenKeys(path, root, [root.key(PLATFORM, 1)])).toBe(true);
    expect(kids(path)).toEqual([other.key(PLATFORM, 1).kid, root.key(PLATFORM, 1).kid]);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(join(folder, 'published'))).toEqual(['keys.json']);
  });

  it('that cannot be parsed is not taken for an empty one', async () => {
    const path = join(folder, 'broken.json');
    writeFileSync(path, '{"keys":[');
    await expect(publishTokenKeys(path, root, [])).rejects.toThrow(SyntaxError);
  });
});
