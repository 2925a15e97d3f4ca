import { describe, expect, it } from 'vitest';
import { schemaProblem } from './json-schema.js';

const text = (more: object) => ({ type: 'object', properties: { a: { type: 'string', ...more } } });

const many = (times: number, more: object) => ({
  properties: {
    a: { type: 'string', allOf: Array.from({ length: times }, () => ({ type: 'string', ...more })) },
  },
});
const list = (items: object) => ({ type: 'object', properties: { a: { type: 'array', items } } });
const manyOf = (keyword: string, times: number) => ({
  [keyword]: Array.from({ length: times }, (_, i) => ({ const: i })),
});
const fields = (times: number) => ({
  type: 'object',
  properties: Object.fromEntries(Array.from({ length: times }, (_, i) => [`f${i}`, { type: 'string' }])),
});

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
    ['one repeat that may begin anywhere, over a long text', text({ pattern: 'a+$' })],
    ['the same behind an alternative with ^', text({ pattern: '^b|a+$' })],
    ['the same where only one way through a group is bound', text({ pattern: '(^|b)a+$' })],
    ['a repeat and a count that may begin anywhere', text({ pattern: 'a+[a-z]{1,9}$', maxLength: 1_024 })],
    ['an empty class that hides what follows', text({ pattern: '^[]|(a+)+$|[x]' })],
    ['a class of everything that hides what follows', text({ pattern: '^[^](a+)+$[x]' })],
    ['2^30 ways to leave something out', text({ pattern: `^${'a?'.repeat(30)}${'a'.repeat(30)}$` })],
    ['the same with a class by name', text({ pattern: `^${'\\p{L}?'.repeat(30)}!$` })],
    ['the same with a character by number', text({ pattern: `^${'\\u{61}?'.repeat(30)}!$` })],
    ['2^30 ways through groups', text({ pattern: `^${'(?:a|a)'.repeat(30)}b$` })],
    [
      'two repeats, more texts of it than one value is worth',
      many(9, { maxLength: 1_024, pattern: '^a*a*b' }),
    ],
    ['a thousand patterns for one text', many(900, { pattern: '^a*aaaab' })],
    ['a thousand alternatives for each element', list(manyOf('anyOf', 1_000))],
    ['a few hundred, each of another keyword', list(manyOf('oneOf', 60))],
    ['alternatives for each further property', { additionalProperties: manyOf('anyOf', 60) }],
    ['the same through a reference', { ...list({ $ref: '#/$defs/a' }), $defs: { a: manyOf('anyOf', 60) } }],
    ['10,000 values for each element', list({ enum: Array.from({ length: 10_000 }, (_, i) => i) })],
    ['more than can be compiled', { allOf: Array.from({ length: 1_600 }, () => text({})) }],
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
    ['a date', text({ pattern: '^\\d{4}-\\d{2}-\\d{2}$' })],
    ['a few ways to begin', text({ pattern: '^(https?|ftp)://[^/]+$' })],
    ['an address', text({ pattern: '^[^@\\s]+@[^@\\s]+$', maxLength: 254 })],
    ['a short text in which something stands anywhere', text({ pattern: 'x+y', maxLength: 200 })],
    ['a part that stands anywhere', text({ pattern: '[A-Z]{3}-[0-9]' })],
    ['a class by name that may be left out', text({ pattern: '^\\p{Lu}?\\p{L}{1,40}$' })],
    ['lazy repeats', text({ pattern: '^a+?b$' })],
    ['elements of some kinds', list(manyOf('anyOf', 20))],
    ['a list of countries', list({ enum: Array.from({ length: 250 }, (_, i) => `c${i}`) })],
    ['an object of many fields', fields(300)],
    ['elements of many fields', list(fields(200))],
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
