import { describe, expect, it } from 'vitest';
import { isStorable, isStorableText } from './storable.js';

describe('JSON that a database can hold', () => {
  it.each([
    ['nul', 'a\u0000b', false],
    ['two in a row', '\u0000\u0000', false],
    ['half a character', 'x\ud83d', false],
    ['a text that only looks like an escape', '\\u0000', true],
    ['a backslash before a real one', '\\\u0000', false],
    ['a whole character', '\u{1f600}', true],
  ])('%s', (_what, given, storable) => {
    expect(isStorable(JSON.stringify({ [given]: given }))).toBe(storable);
    expect(isStorableText(given)).toBe(storable);
  });
});
