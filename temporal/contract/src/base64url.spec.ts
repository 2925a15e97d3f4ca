import fc from 'fast-check';
import { expect, it } from 'vitest';
import { decodeBase64url } from './base64url.js';

it('reads what Node writes, for any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      fc.pre(text.isWellFormed());
      expect(decodeBase64url(Buffer.from(text).toString('base64url'))).toBe(text);
    }),
  );
});

it('is nothing for what is not base64url', () => {
  for (const text of ['a b', 'YQ==', 'Zm9+', 'é']) expect(decodeBase64url(text)).toBeUndefined();
});
