import { readFile } from 'node:fs/promises';
import {
  buildSchema,
  getIntrospectionQuery,
  GraphQLObjectType,
  parse,
  specifiedRules,
  validate,
} from 'graphql';
import { describe, expect, it } from 'vitest';
import { BulkheadError } from '@bulkhead/contract';
import { checkCost, READ } from './cost.js';
import { checkDocument } from './document-limits.js';
import { LIMITS } from './limits.js';
import { checkSource } from './source-limits.js';

const schema = buildSchema(`
  type Query { run: Run, runs(first: Int! = 20): RunPage, tools: [Run!]! }
  type RunPage { nodes: [Run!]!, endCursor: ID }
  type Run { id: ID, again: Run, journal: [Record!]! }
  type Record { at: String }`);
const runType = schema.getType('Run');
if (runType instanceof GraphQLObjectType) runType.getFields()['journal']!.extensions = { complexity: READ };

/** Everything that a document passes before a resolver runs. */
function refusal(source: string, variables: Record<string, unknown> = {}, introspection = false): unknown {
  try {
    checkSource(source);
    const document = parse(source);
    checkDocument(document, introspection);
    const [error] = validate(schema, document, specifiedRules);
    if (error) return error.message;
    checkCost(schema, document, variables);
    return undefined;
  } catch (error) {
    return error instanceof BulkheadError ? { code: error.code, ...error.details } : String(error);
  }
}
const tooMany = (measure: keyof typeof LIMITS, found: number): object => ({
  code: 'QUERY_TOO_COMPLEX',
  measure,
  limit: LIMITS[measure],
  found,
});
const times = (count: number, part: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => part(i)).join(' ');

describe('limits of a document', () => {
  it('let ordinary ones pass', () => {
    expect(refusal('{ run { id } }')).toBeUndefined();
    expect(refusal('{ runs(first: 100) { nodes { id again { id } } endCursor } }')).toBeUndefined();
    expect(refusal('{ runs(first: 50) { nodes { id journal { at } } } }')).toBeUndefined();
    expect(refusal(getIntrospectionQuery(), {}, true)).toBeUndefined();
  });

  it('stop what is too long, in characters and in tokens, and say how much it was', () => {
    expect(refusal(`{ run { id } } #${'x'.repeat(20_000)}`)).toEqual(tooMany('characters', 20_016));
    expect(refusal(`{ ${'a '.repeat(2_500)}}`)).toEqual(tooMany('tokens', 2_502));
  });

  it('stop what is too deep for the parser, also when brackets in a comment seem to close it', () => {
    expect(refusal('{ run(x: '.padEnd(1_000, '['))).toEqual(tooMany('nesting', 993));
    const hidden = times(70, () => '[ #]\n');
    expect(refusal(`{ run(x: ${hidden}`)).toEqual(tooMany('nesting', 72));
    expect(refusal(`{ runs(first: "${'['.repeat(100)}") { endCursor } }`)).toContain('Int cannot represent');
  });

  it.each(['{"kind":"Document","definitions":[]}', ' {}', '[]', '"text"', '1', '-1', ' true ', 'null'])(
    'stop what is JSON and no GraphQL: %s',
    (source) => expect(refusal(source)).toEqual({ code: 'BAD_INPUT' }),
  );

  it('stop one query under many aliases, at the top and further down', () => {
    expect(refusal(`{ ${times(21, (i) => `a${i}: run { id }`)} }`)).toEqual(tooMany('rootFields', 21));
    expect(refusal(`{ run { ${times(61, (i) => `a${i}: id`)} } }`)).toEqual(tooMany('aliases', 61));
  });

  it('stop a flood of directives, of fragments and of operations', () => {
    expect(refusal(`{ run { id ${times(21, () => '@skip(if: false)')} } }`)).toEqual(
      tooMany('directives', 21),
    );
    expect(refusal(`{ run { id } } ${times(21, (i) => `fragment f${i} on Run { id }`)}`)).toEqual(
      tooMany('fragments', 21),
    );
    expect(refusal(times(11, (i) => `query q${i} { run { id } }`))).toEqual(tooMany('operations', 11));
  });

  it('stop more fields than anybody reads', () => {
    expect(refusal(`{ run { ${'id '.repeat(400)}} }`)).toEqual(tooMany('fields', 401));
  });

  it('stop depth, also through fragments', () => {
    const deep = (levels: number): string =>
      `{ run ${'{ again '.repeat(levels)}{ id }${' }'.repeat(levels)} }`;
    expect(refusal(deep(8))).toBeUndefined();
    expect(refusal(deep(9))).toEqual(tooMany('depth', 11));
    const chain = times(9, (i) => `fragment f${i} on Run { again { ...f${i + 1} } }`);
    expect(refusal(`{ run { ...f0 } } ${chain} fragment f9 on Run { id }`)).toEqual(tooMany('depth', 11));
  });

  it('count what fragments expand to (a small document that asks for thousands of fields)', () => {
    const levels = times(
      8,
      (i) => `fragment f${i} on Run { again { ...f${i + 1} } b: again { ...f${i + 1} } }`,
    );
    const source = `{ run { ...f0 } } ${levels} fragment f8 on Run { id }`;
    expect(refusal(source)).toEqual(tooMany('fields', 1 + 2 * 255 + 256));
  });

  it('end on fragments that contain themselves', () => {
    expect(refusal('{ run { ...f } } fragment f on Run { again { ...f } }')).toEqual({ code: 'BAD_INPUT' });
    expect(refusal('{ run { id } } fragment a on Run { ...b } fragment b on Run { ...a }')).toEqual({
      code: 'BAD_INPUT',
    });
  });

  it.each([
    '{ __schema { types { name } } }',
    '{ run { ...f } } fragment f on Query { __type(name: "Run") { name } }',
  ])('do not tell the schema unless told to: %s', (source) => {
    expect(refusal(source)).toEqual({ code: 'INTROSPECTION_DISABLED' });
    expect(refusal('{ __typename run { __typename } }')).toBeUndefined();
  });
});

describe('the cost of an operation', () => {
  const journals = (first: string, head = ''): string =>
    `query ${head} { runs(first: ${first}) { nodes { id journal { at } } } }`;
  // one read, one page, and for each run its id, its read and 20 records
  const costOf = (runs: number): number => READ + 1 + runs * (1 + READ + 20);

  it('multiplies by the length of lists, given as a number, a variable or its default', () => {
    const found = tooMany('cost', costOf(200));
    expect(refusal(journals('200'))).toEqual(found);
    expect(refusal(journals('$n', '($n: Int!)'), { n: 200 })).toEqual(found);
    expect(refusal(journals('$n', '($n: Int! = 200)'))).toEqual(found);
    expect(refusal(journals('$n', '($n: Int! = 200)'), { n: 5 })).toBeUndefined();
  });

  it('sums up aliases, and takes a length that is none for a long one', () => {
    const many = `{ ${times(20, (i) => `a${i}: runs(first: 10) { nodes { journal { at } } }`)} }`;
    expect(refusal(many)).toEqual(tooMany('cost', 20 * (26 + 10 * 45)));
    expect(refusal(journals('$n', '($n: Int!)'), { n: { a: 1 } })).toMatchObject({ measure: 'cost' });
  });

  it('counts what stands in fragments', () => {
    const source =
      '{ runs(first: 200) { ...p } } fragment p on RunPage { nodes { ...r } } fragment r on Run { id journal { at } }';
    expect(refusal(source)).toEqual(tooMany('cost', costOf(200)));
  });
});

it('are those of docs/security-model.md', async () => {
  const text = await readFile(new URL('../../../../docs/security-model.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` +\| ([\d,]+) +\|/gm)].map(([, name, limit]) => [
    name,
    Number(limit?.replaceAll(',', '')),
  ]);
  expect(Object.fromEntries(rows)).toMatchObject(LIMITS);
});
