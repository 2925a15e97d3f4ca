import { createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { jwtVerify } from 'jose';
import type { JSONWebKeySet, JWK } from 'jose';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ensureKeys, once, writePrivate } from './keys.js';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bulkhead-keys-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

const mode = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;

it('makes every key once, for its owner only, and never changes one that exists', async () => {
  const files = await ensureKeys(join(folder, 'keys'));
  const read = (): Promise<string[]> =>
    Promise.all(Object.values(files).map((file) => readFile(file, 'utf8')));
  const made = await read();
  expect(new Set(made).size).toBe(made.length);
  for (const file of Object.values(files)) expect(await mode(file)).toBe(0o600);
  expect(await mode(join(folder, 'keys'))).toBe(0o700);
  expect(await readdir(join(folder, 'keys'))).toHaveLength(made.length); // no half-written file is left

  expect(await ensureKeys(join(folder, 'keys'))).toEqual(files);
  expect(await read()).toEqual(made);
});

it('has a master key of 32 bytes, and a public half of the key that signs envelopes with nothing of the private one', async () => {
  const files = await ensureKeys(join(folder, 'keys'));
  expect(Buffer.from(await readFile(files.master, 'utf8'), 'base64')).toHaveLength(32);
  const jwk = await onlyKey(files.envelopePublic);
  const signature = sign(null, Buffer.from('text'), createPrivateKey(await readFile(files.envelopeSigning)));
  const key = createPublicKey({ key: jwk, format: 'jwk' });
  expect(verify(null, Buffer.from('text'), key, signature)).toBe(true);
  expect(verify(null, Buffer.from('other'), key, signature)).toBe(false);
});

it("publishes the platform's first token key, so that its tokens open a server that knows no other", async () => {
  const files = await ensureKeys(join(folder, 'keys'));
  const jwk = await onlyKey(files.temporalJwks);
  const token = createTokenMinter({ signingKeyPath: files.temporalSigning, ttlSeconds: 60 }).system('admin');
  const verified = await jwtVerify(token, createPublicKey({ key: jwk, format: 'jwk' }), {
    algorithms: ['ES256'],
  });
  expect(verified.protectedHeader.kid).toBe(jwk.kid);
});

async function onlyKey(file: string): Promise<JWK> {
  const { keys } = JSON.parse(await readFile(file, 'utf8')) as JSONWebKeySet;
  const [jwk] = keys;
  if (keys.length !== 1 || !jwk) throw new Error('not exactly one public key');
  expect(Object.keys(jwk).filter((name) => ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k'].includes(name))).toEqual(
    [],
  );
  return jwk;
}

it('replaces a file that others could read by one that they cannot', async () => {
  const file = join(folder, 'config.json');
  await writeFile(file, 'old');
  await chmod(file, 0o644);
  await writePrivate(file, 'new');
  expect(await readFile(file, 'utf8')).toBe('new');
  expect(await mode(file)).toBe(0o600);
});

it('does not take a key that cannot be read for one that is missing', async () => {
  const unreadable = join(folder, 'a-folder');
  await ensureKeys(unreadable);
  await expect(once(unreadable, () => 'another key')).rejects.toThrow('EISDIR');
});
