/** One request that asks for too much, or for the same in a way that readers understand differently. */
export interface QueryAttack {
  readonly name: string;
  /** The raw body; a document alone is wrapped by `asking`. */
  readonly body: string;
  readonly code: string;
  readonly status?: number;
  readonly chunked?: boolean;
}

const asking = (query: string, variables: object = {}): string => JSON.stringify({ query, variables });
const times = (count: number, part: (i: number) => string, between = ' '): string =>
  Array.from({ length: count }, (_, i) => part(i)).join(between);
const COMPLEX = 'QUERY_TOO_COMPLEX';
const BAD = 'BAD_USER_INPUT';

const nested = (levels: number): string =>
  `{ runs { nodes ${'{ journal '.repeat(levels)}{ id }${' }'.repeat(levels)} } }`;
const doubling = times(30, (i) => `fragment f${i} on Run { a: id ...f${i + 1} ...f${i + 1} }`);

/** PROOFS: depth, cost, aliases, batches, cycles, size, deep JSON, huge numbers, names twice, floods of directives. */
export const QUERY_ATTACKS: readonly QueryAttack[] = [
  { name: 'depth', body: asking(nested(12)), code: COMPLEX },
  {
    name: 'depth through fragments',
    body: asking(
      `{ runs { ...f0 } } ${times(12, (i) => `fragment f${i} on RunPage { nodes { ...f${i + 1} } }`)}`,
    ),
    code: COMPLEX,
  },
  { name: 'brackets for the parser', body: asking(`{ run(id: ${'['.repeat(8_000)}`), code: COMPLEX },
  {
    name: 'brackets that a comment seems to close',
    body: asking(`{ run(id: ${'[ #]\n'.repeat(2_000)}`),
    code: COMPLEX,
  },
  { name: 'braces', body: asking(`${'{a'.repeat(7_000)}`), code: COMPLEX },
  {
    name: 'deep object literal',
    body: asking(`{ run(id: ${'{a:'.repeat(5_000)}1${'}'.repeat(5_000)}) { id } }`),
    code: COMPLEX,
  },
  {
    name: 'cost of a list',
    body: asking('{ runs(first: 100) { nodes { id journal { at kind body } } } }'),
    code: COMPLEX,
  },
  {
    name: 'cost of a list in a variable',
    body: asking('query ($n: Int!) { runs(first: $n) { nodes { journal { at kind hash } } } }', { n: 100 }),
    code: COMPLEX,
  },
  {
    name: 'cost under aliases',
    body: asking(`{ ${times(20, (i) => `a${i}: runs(first: 100) { nodes { journal { at } } }`)} }`),
    code: COMPLEX,
  },
  { name: 'alias x 1000', body: asking(`{ ${times(1_000, (i) => `a${i}:me{role}`)} }`), code: COMPLEX },
  {
    name: 'nested alias x 398',
    body: asking(`{ run(id: "x") { ${times(398, (i) => `a${i}:id`)} } }`),
    code: COMPLEX,
  },
  {
    name: 'one field again and again',
    body: asking(`{ run(id: "x") { ${'id '.repeat(900)} } }`),
    code: COMPLEX,
  },
  { name: 'tokens', body: asking(`{ ${'a,'.repeat(8_000)} }`), code: COMPLEX },
  { name: 'a long text', body: asking(`{ run(id: "${'x'.repeat(100_000)}") { id } }`), code: COMPLEX },
  { name: 'a long comment', body: asking(`{ me { role } } #${'x'.repeat(200_000)}`), code: COMPLEX },
  { name: 'directives', body: asking(`{ me { role ${'@include(if: true) '.repeat(500)} } }`), code: COMPLEX },
  {
    name: 'directives that do not exist',
    body: asking(`{ me ${'@a'.repeat(900)} { role } }`),
    code: COMPLEX,
  },
  {
    name: 'directives on variables',
    body: asking(`query ($a: ID ${'@a'.repeat(400)}) { me { role } }`),
    code: COMPLEX,
  },
  {
    name: 'fragments',
    body: asking(`{ me { role } } ${times(150, (i) => `fragment f${i} on Me { role }`)}`),
    code: COMPLEX,
  },
  { name: 'fragments that double', body: asking(`{ runs { nodes { ...f0 } } } ${doubling}`), code: COMPLEX },
  {
    name: 'a fragment in itself',
    body: asking('{ run(id: "x") { ...f } } fragment f on Run { ...f }'),
    code: BAD,
  },
  {
    name: 'a cycle of fragments',
    body: asking(
      '{ run(id: "x") { ...a } } fragment a on Run { ...b } fragment b on Run { ...c } fragment c on Run { id ...a }',
    ),
    code: BAD,
  },
  { name: 'operations', body: asking(times(100, (i) => `query q${i} { me { role } }`)), code: COMPLEX },
  {
    name: 'variables',
    body: asking(`query (${times(300, (i) => `$v${i}: ID`)}) { me { role } }`),
    code: COMPLEX,
  },
  { name: 'a batch', body: `[${times(1_000, () => asking('{ me { role } }'), ',')}]`, code: BAD },
  { name: 'a batch of one', body: `[${asking('{ me { role } }')}]`, code: BAD },
  {
    name: '10 MB',
    body: asking(`{ me { role } } #${'x'.repeat(10_000_000)}`),
    code: 'PAYLOAD_TOO_LARGE',
    status: 413,
  },
  {
    name: '10 MB in pieces',
    body: asking(`{ me { role } } #${'x'.repeat(10_000_000)}`),
    code: 'PAYLOAD_TOO_LARGE',
    status: 413,
    chunked: true,
  },
  {
    name: 'deep JSON',
    body: `{"query":"{ me { role } }","variables":{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}}`,
    code: COMPLEX,
  },
  {
    name: 'deep JSON objects',
    body: `{"query":"{ me { role } }","variables":${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}}`,
    code: COMPLEX,
  },
  {
    name: 'deep JSON that never ends',
    body: `{"query":"{ me { role } }","variables":${'{"a":'.repeat(50_000)}`,
    code: COMPLEX,
  },
  {
    name: 'many names',
    body: `{"query":"{ me { role } }","variables":{${times(20_000, (i) => `"a${i}":1`, ',')},"a0":2}}`,
    code: BAD,
  },
  {
    name: 'a huge whole number',
    body: '{"query":"query ($n: Int!) { runs(first: $n) { endCursor } }","variables":{"n":9007199254740993}}',
    code: BAD,
  },
  {
    name: 'a huge whole number in the document',
    body: asking('{ runs(first: 99999999999999999999) { endCursor } }'),
    code: BAD,
  },
  {
    name: 'a number of 200,000 digits',
    body: `{"query":"{ me { role } }","variables":{"n":${'9'.repeat(200_000)}}}`,
    code: BAD,
  },
  { name: 'a number without end', body: '{"query":"{ me { role } }","variables":{"n":1e400}}', code: BAD },
  { name: 'names twice', body: '{"query":"{ me { role } }","query":"{ tools { id } }"}', code: BAD },
  {
    name: 'names twice, deep',
    body: '{"query":"{ me { role } }","variables":{"a":{"b":1,"\\u0062":2}}}',
    code: BAD,
  },
  { name: 'arguments twice', body: asking('{ run(id: "a", id: "b") { id } }'), code: BAD },
  {
    name: 'parts of an input twice',
    body: asking(
      'mutation { startRun(input: { agentId: "a", agentId: "b", idempotencyKey: "x", input: {} }) { id } }',
    ),
    code: BAD,
  },
  { name: '__proto__', body: '{"query":"{ me { role } }","variables":{"__proto__":{"a":1}}}', code: BAD },
  { name: 'a syntax tree', body: '{"query":"{\\"kind\\":\\"Document\\",\\"definitions\\":[]}"}', code: BAD },
  {
    name: 'a list for one value',
    body: asking('query ($id: ID!) { run(id: $id) { id } }', { id: Array.from({ length: 50_000 }, () => 1) }),
    code: BAD,
  },
  {
    name: 'introspection in introspection',
    body: asking(`{ __schema { types ${'{ fields { type '.repeat(6)}{ name }${' } }'.repeat(6)} } }`),
    code: BAD,
  },
];
