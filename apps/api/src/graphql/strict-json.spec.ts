import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BulkheadError } from '@bulkhead/contract';
import { parseStrictJson } from './strict-json.js';

const refusal = (text: string): string | undefined => {
  try {
    parseStrictJson(text, 'body');
    return undefined;
  } catch (error) {
    return error instanceof BulkheadError ? error.publicMessage : String(error);
  }
};

describe('JSON that means one thing only', () => {
  it('is what the parser reads', () => {
    // but for `__proto__` and numbers of 16 digits, which have cases of their own below
    const value = fc.jsonValue({ maxDepth: 6 }).filter((it) => !/__proto__|\d{16}/.test(JSON.stringify(it)));
    fc.assert(
      fc.property(value, (it) => {
        expect(parseStrictJson(JSON.stringify(it, null, 1), 'body')).toEqual(JSON.parse(JSON.stringify(it)));
      }),
    );
  });

  it.each([
    ['{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}', undefined],
    ['{"a":"a\\":1,\\"a","b":"{[,"}', undefined],
    ['{"a":1,"a":2}', '"a" is given twice.'],
    ['{"a":1, "\\u0061" : 2}', '"a" is given twice.'],
    ['{"a":{"b":1,"c":[],"b":2}}', '"b" is given twice.'],
    ['{"__proto__":1}', 'The name "__proto__" is not taken.'],
    ['{"\\u005f_proto__":1}', 'The name "__proto__" is not taken.'],
    ['[9007199254740991,-9007199254740991,0.1,1e10,-1.5E-3]', undefined],
    ['9007199254740993', 'The number 9007199254740993 cannot be kept exactly; send it as text.'],
    ['-9007199254740993', 'The number 9007199254740993 cannot be kept exactly; send it as text.'],
    ['{"a":1e400}', 'The number 1e400 cannot be kept exactly; send it as text.'],
    ['', 'The request is not JSON.'],
    ['{"a":1', 'The request is not JSON.'],
    ['"a', 'The request is not JSON.'],
    ['{"a\\x":1}', 'The request is not JSON.'],
    ['}{', 'The request is not JSON.'],
  ])('%s: %s', (text, expected) => expect(refusal(text)).toBe(expected));

  it('is not deeper than what can be walked', () => {
    expect(refusal(`${'['.repeat(64)}${']'.repeat(64)}`)).toBeUndefined();
    expect(refusal(`${'['.repeat(65)}${']'.repeat(65)}`)).toBe(
      'The request has jsonDepth 65; at most 64 is taken.',
    );
    expect(refusal('{"a":'.repeat(100_000))).toContain('jsonDepth');
  });
});
