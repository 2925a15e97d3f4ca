import { describe, expect, it } from 'vitest';
import { newApiKey, parseApiKey, sameHash } from './api-keys.js';

describe('API keys', () => {
  it('are found by prefix and recognised by hash', () => {
    const made = newApiKey();
    expect(made.key).toMatch(/^bhk_[0-9A-Za-z]{8}_[0-9A-Za-z]{32}$/);
    const read = parseApiKey(made.key);
    expect(read?.prefix).toBe(made.prefix);
    expect(sameHash(read?.hash ?? Buffer.alloc(0), made.hash)).toBe(true);
  });

  it('keep nothing of the secret in what is stored', () => {
    const { key, hash, prefix } = newApiKey();
    const secret = key.slice(13);
    expect(`${prefix}${hash.toString('latin1')}${hash.toString('base64')}`).not.toContain(secret);
  });

  it.each([
    '',
    'bhk_',
    'bhk_12345678_short',
    `bhk_12345678_${'a'.repeat(33)}`,
    ` bhk_12345678_${'a'.repeat(32)}`,
    "bhk_1234567'_x",
  ])('are not read out of %j (forged)', (text) => {
    expect(parseApiKey(text)).toBeUndefined();
  });

  it('do not match when one character differs (guessing the last character of a stolen prefix)', () => {
    const { key, hash } = newApiKey();
    const forged = `${key.slice(0, -1)}${key.endsWith('a') ? 'b' : 'a'}`;
    expect(sameHash(parseApiKey(forged)?.hash ?? Buffer.alloc(0), hash)).toBe(false);
  });
});
