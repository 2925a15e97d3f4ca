import { describe, expect, it } from 'vitest';
import { schemaProblem } from './json-schema.js';

const text = (more: object) => ({ type: 'object', properties: { a: { type: 'string', ...more } } });

/** 2^30 checks of one value. */
const doubling = {
  type: 'object',
  properties: { a: { $ref: '#/$defs/d0' } },
  $defs: Object.fromEntries(
    Array.from({ length: 31 }, (_, i) => [
      `d${i}`,
      i === 30
        ? { type: 'string' }
        : { allOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] },
    ]),
  ),
};

describe('a schema from outside', () => {
  it.each<[string, unknown]>([
    ['a pattern that backtracks', text({ pattern: '^(a+)+$' })],
    ['the same with a counted group', text({ pattern: '^(a|a){1,40}$' })],
    ['the same behind a class', text({ pattern: '^([a-z]+\\))*$' })],
    ['many repeats in a row', text({ pattern: 'a*a*a*a*a*b', maxLength: 1_000 })],
    ['two repeats over a long text', text({ pattern: '.*x.*y' })],
    ['a back reference', text({ pattern: '(a)\\1' })],
    ['a look-ahead', text({ pattern: '(?=a)b' })],
    ['a pattern for names', { patternProperties: { '^(a+)+$': {} } }],
    ['references that double', doubling],
    ['a reference to itself', { $ref: '#/$defs/a', $defs: { a: { items: { $ref: '#/$defs/a' } } } }],
    ['a reference to the root', { properties: { a: { $ref: '#' } } }],
    ['a reference to elsewhere', { properties: { a: { $ref: 'https://evil.example/s.json' } } }],
    ['another base inside', { properties: { a: { $id: 'x', $ref: '#/$defs/b' } } }],
    ['a comparison of all with all', { properties: { a: { type: 'array', uniqueItems: true } } }],
    ['more than can be checked', { allOf: Array.from({ length: 6_000 }, () => ({})) }],
    ['a pattern in a condition', { if: { not: { contains: text({ pattern: '(x*)*' }) } } }],
  ])('attack: %s is refused', (_attack, schema) => {
    expect(schemaProblem(schema)).toEqual(expect.any(String));
  });

  it.each<[string, unknown]>([
    ['ordinary constraints', text({ pattern: '^[A-Z][A-Z0-9-]{0,62}$' })],
    ['an optional group', text({ pattern: '^[a-z]+(\\.com)?$' })],
    ['a literal bracket and star', text({ pattern: '^\\(\\*\\)+$' })],
    [
      'names that look like keywords',
      { properties: { pattern: { type: 'string' }, $ref: {}, uniqueItems: {} } },
    ],
    ['values that look like keywords', { enum: [{ pattern: '(a+)+' }], default: { $ref: 'x' } }],
    ['shared definitions', { $ref: '#/$defs/a', $defs: { a: { type: 'string' } } }],
  ])('%s pass', (_what, schema) => {
    expect(schemaProblem(schema)).toBeUndefined();
  });
});
