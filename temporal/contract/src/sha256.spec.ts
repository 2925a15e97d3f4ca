import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { sha256Hex } from './sha256.js';

const byNode = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

it('is what Node computes, for each length around a block and for any text', () => {
  for (let length = 0; length < 200; length += 1)
    expect(sha256Hex('a'.repeat(length)), String(length)).toBe(byNode('a'.repeat(length)));
  expect(sha256Hex('x'.repeat(1_000_003))).toBe(byNode('x'.repeat(1_000_003)));
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (text) => sha256Hex(text) === byNode(text)),
  );
});
