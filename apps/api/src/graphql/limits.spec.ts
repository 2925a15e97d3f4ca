import { buildSchema, parse, specifiedRules, validate } from 'graphql';
import { describe, expect, it } from 'vitest';
import { checkSource, costRule } from './limits.js';

const schema = buildSchema('type Query { run: Run } type Run { id: ID, again: Run }');
const problems = (source: string): string[] =>
  validate(schema, parse(source), [...specifiedRules, costRule]).map((error) => error.message);

describe('limits of a document', () => {
  it('let an ordinary one pass', () => {
    const source = 'query ($a: ID) { run { id } }'.replace('($a: ID) ', '');
    expect(() => checkSource(source)).not.toThrow();
    expect(problems(source)).toEqual([]);
  });

  it('stop one that is too long, too deep for the parser, or no GraphQL but its syntax tree', () => {
    expect(() => checkSource(`{ run { id } } #${'x'.repeat(20_000)}`)).toThrow(/longer than/);
    expect(() => checkSource('{ run(x: '.padEnd(9_000, '['))).toThrow(/nested deeper/);
    expect(() => checkSource('{"kind":"Document","definitions":[]}')).toThrow(/not GraphQL/);
  });

  it('stop one query under many aliases', () => {
    const aliases = Array.from({ length: 21 }, (_, i) => `a${i}: run { id }`).join(' ');
    expect(problems(`{ ${aliases} }`)).toEqual(['More than 20 fields at the top of an operation.']);
  });

  it('count what fragments expand to (a small document that asks for millions of fields)', () => {
    const levels = Array.from(
      { length: 20 },
      (_, i) => `fragment f${i} on Run { a: again { ...f${i + 1} } b: again { ...f${i + 1} } }`,
    );
    const source = `{ run { ...f0 } } ${levels.join(' ')} fragment f20 on Run { id }`;
    expect(problems(source)).toEqual(['More than 400 fields in an operation.']);
  });

  it('end on fragments that contain themselves', () => {
    expect(problems('{ run { ...f } } fragment f on Run { again { ...f } }').join()).toContain('itself');
  });
});
