import { createSecretKey, randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { decrypt, encrypt, KEY_BYTES } from './aes-gcm.js';

const key = randomBytes(KEY_BYTES);
const TEXT = Buffer.from('the same text under the same key');

it('no IV is used twice, and each ciphertext keeps the one it was made with', () => {
  const sealed = Array.from({ length: 2_000 }, () => encrypt(key, ['a'], TEXT));
  expect(new Set(sealed.map((one) => one.subarray(0, 12).toString('hex'))).size).toBe(sealed.length);
  for (const one of sealed) expect(decrypt(key, ['a'], one)).toEqual(TEXT);
});

it('a key object is the same key as its bytes', () => {
  const object = createSecretKey(key);
  expect(decrypt(key, ['a'], encrypt(object, ['a'], TEXT))).toEqual(TEXT);
  expect(decrypt(object, ['a'], encrypt(key, ['a'], TEXT))).toEqual(TEXT);
});

it('nothing opens under another context', () => {
  const sealed = encrypt(key, ['a', 'bc'], TEXT);
  expect(() => decrypt(key, ['ab', 'c'], sealed)).toThrow(/authenticate/);
});
