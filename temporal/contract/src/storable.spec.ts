import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isStorable, toStorable } from './storable.js';

describe('JSON that a database can hold', () => {
  it.each([
    ['nul', 'a\u0000b', 'a\ufffdb'],
    ['two in a row', '\u0000\u0000', '\ufffd\ufffd'],
    ['half a character', 'x\ud83d', 'x\ufffd'],
    ['a text that only looks like an escape', '\\u0000', '\\u0000'],
    ['a backslash before a real one', '\\\u0000', '\\\ufffd'],
    ['a whole character', '\u{1f600}', '\u{1f600}'],
  ])('%s', (_what, given, kept) => {
    expect(isStorable(JSON.stringify({ [given]: given }))).toBe(given === kept);
    expect(JSON.parse(toStorable(JSON.stringify({ a: given })))).toEqual({ a: kept });
  });

  it('is storable after the change, and the same document when it was before', () => {
    const hostile = fc.string({
      unit: fc.constantFrom('\u0000', '\\', 'u', '0', '\ud83d', '\ude00', '"', 'd'),
    });
    fc.assert(
      fc.property(fc.array(hostile), (value) => {
        const text = JSON.stringify(value);
        expect(isStorable(toStorable(text))).toBe(true);
        expect(JSON.parse(toStorable(text))).toEqual(
          value.map((part) => part.toWellFormed().replaceAll('\u0000', '\ufffd')),
        );
      }),
    );
  });
});
