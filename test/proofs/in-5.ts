import { isDeepStrictEqual } from 'node:util';
import type { Json } from '@bulkhead/contract';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { openLine } from '../support/line.js';
import type { LineUnderTest } from '../support/line.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const SHARE: Record<ProofSize, number> = { tiny: 6, ci: 1, full: 1 };
const AT_ONCE = 8;

interface Args {
  readonly [name: string]: Json;
}
const GOOD: Args = {
  place: 'A-1',
  note: 'hello',
  amount: 5,
  kind: 'refund',
  tags: ['x'],
  who: { name: 'Ann' },
};
const SCHEMA: Json = {
  type: 'object',
  properties: {
    place: { type: 'string', minLength: 1, maxLength: 300 },
    note: { type: 'string', maxLength: 2_000 },
    amount: { type: 'integer', minimum: 1, maximum: 100 },
    kind: { type: 'string', enum: ['refund', 'credit'] },
    tags: { type: 'array', items: { type: 'string', maxLength: 300 }, maxItems: 3 },
    who: {
      type: 'object',
      properties: { name: { type: 'string', maxLength: 300 } },
      required: ['name'],
      additionalProperties: false,
    },
  },
  required: ['place', 'note', 'amount', 'kind', 'tags', 'who'],
  additionalProperties: false,
};

/** What interpreters on the way could take for orders: templates, SQL, shells, paths, headers, format strings, markup. */
const PAYLOADS = [
  '{{7*7}}',
  '${7*7}',
  '${process.env.HOME}',
  '#{7*7}',
  '<%= 7*7 %>',
  '{place}',
  '{constructor}',
  '%7Bplace%7D',
  "'; DROP TABLE tools; --",
  "' OR '1'='1",
  '1; SELECT pg_sleep(9)',
  '$1',
  '$(id)',
  '`id`',
  '; rm -rf /',
  '| cat /etc/passwd',
  '&& curl http://127.0.0.1',
  '../../etc/passwd',
  '..%2f..%2fadmin',
  '..\\..\\admin',
  '%2e%2e%2f',
  'a/b?admin=true#x',
  '?x=1&y=2',
  '//elsewhere.example/',
  'x\r\nx-admin: true\r\n\r\nGET /admin',
  'x%0d%0ax-admin:%20true',
  'nul\\u0000byte',
  '%s%n%x',
  '<script>alert(1)</script>',
  '<!--#exec cmd="id"-->',
  '<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]>',
  '{"$ne":null}',
  '__proto__',
  'constructor.prototype',
  '\u202ereversed',
  '\u200bzero\ufeffwidth',
  'аdmin', // Cyrillic
  'ＡＤＭＩＮ',
  '🏴‍☠️',
  '=HYPERLINK("http://elsewhere.example")',
] as const;

/** Everything that is not a text, a whole number, and so on. */
const TYPES: readonly Json[] = [
  'text',
  '5',
  5.5,
  -1,
  0,
  101,
  1e308,
  true,
  false,
  null,
  [],
  ['x'],
  {},
  { $gt: 0 },
];

/**
 * Arguments that do not fit never leave; arguments that fit arrive as they are, as data, in their place and nowhere
 * else. Through the whole line, to a server that keeps the bytes.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  try {
    await declare(line);
    const host = await line.newHost();
    const envelope = await line.newRun('acme');
    const faults: string[] = [];
    const ask = async (args: Json): Promise<string> => (await host.call(envelope, 'form.send', args)).kind;
    const wrong = misfits().filter((_, index) => index % SHARE[size] === 0);
    await inTurns(wrong, async (args) => {
      const kind = await ask(args);
      if (kind !== 'invalid_input') faults.push(`${JSON.stringify(args).slice(0, 120)}: ${kind}`);
    });
    if (line.tool.requests.length > 0) faults.push(`${line.tool.requests.length} misfits were sent`);
    progress(`${wrong.length} that do not fit`);
    const inert = fitting().filter((_, index) => index % SHARE[size] === 0);
    await inTurns(inert, async (args) => {
      const kind = await ask(args);
      if (kind !== 'ok') faults.push(`${JSON.stringify(args).slice(0, 120)}: ${kind}`);
    });
    faults.push(...arrived(line, inert));
    progress(`${inert.length} that fit`);
    return zeroOf(
      'arguments that were let through or became more than data',
      wrong.length + inert.length,
      faults,
    );
  } finally {
    await line.close();
  }
};

function misfits(): Json[] {
  const names = Object.keys(GOOD);
  const without = (name: string): Args =>
    Object.fromEntries(Object.entries(GOOD).filter(([key]) => key !== name));
  const typed = names.flatMap((name) =>
    TYPES.filter((value) => !fits(name, value)).map((value) => ({ ...GOOD, [name]: value })),
  );
  // an own property, as JSON.parse makes it; the literal would set the prototype
  const polluted = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty'].map(
    (name) =>
      JSON.parse(`{${JSON.stringify(GOOD).slice(1, -1)},${JSON.stringify(name)}:{"amount":1}}`) as Json,
  );
  const inner = JSON.parse('{"name":"Ann","__proto__":{"admin":true}}') as Json;
  // the same letters to the eye: Cyrillic, fullwidth, composed of two
  const lookalikes = ['nоte', 'ｎｏｔｅ', 'not\u0065\u0301', 'note ', 'Note', 'note\u200b', 'note\u0000'];
  return [
    ...typed,
    ...names.map(without),
    ...polluted,
    { ...GOOD, who: inner },
    ...['refund ', 'Refund', 'rеfund', 'ｒefund', 'refund\u0000', 'refu\u00adnd'].map((kind) => ({
      ...GOOD,
      kind,
    })),
    ...lookalikes.map((name) => ({ ...without('note'), [name]: 'hello' })),
    ...lookalikes.map((name) => ({ ...GOOD, [name]: 'hello' })),
    ...PAYLOADS.map((extra) => ({ ...GOOD, [`x${extra}`]: extra })),
    ...PAYLOADS.map((kind) => ({ ...GOOD, kind })),
    ...PAYLOADS.map((amount) => ({ ...GOOD, amount })),
    { ...GOOD, place: '..' },
    { ...GOOD, place: '.' },
    { ...GOOD, place: '' },
    { ...GOOD, note: '\ud800' },
    [GOOD],
    'text',
    null,
    7,
  ];
}

/** Whether TYPES' value is one that the schema takes there. */
function fits(name: string, value: Json): boolean {
  if (name === 'place' || name === 'note') return typeof value === 'string';
  if (name === 'tags') return Array.isArray(value);
  return false;
}

function fitting(): Args[] {
  return PAYLOADS.flatMap((text, index) => [
    { ...GOOD, note: `n${index} ${text}` },
    { ...GOOD, place: `p${index}${text}` },
    { ...GOOD, tags: [`t${index}`, text], who: { name: text } },
  ]);
}

/** Each call is one request, of the declared shape, with the arguments in it byte for byte. */
function arrived(line: LineUnderTest, sent: readonly Args[]): string[] {
  const { requests } = line.tool;
  const faults =
    requests.length === sent.length ? [] : [`${requests.length} requests for ${sent.length} calls`];
  for (const { place, ...rest } of sent) {
    const found = requests.some(
      ({ path, body }) =>
        path === `/forms/${encodeURIComponent(String(place))}/send` && isDeepStrictEqual(body, rest),
    );
    if (!found) faults.push(`not as it was given: ${JSON.stringify({ place, ...rest }).slice(0, 120)}`);
  }
  const odd = requests.filter(({ headers }) => 'x-admin' in headers);
  return odd.length === 0 ? faults : [...faults, `${odd.length} requests with a header from an argument`];
}

async function declare(line: LineUnderTest): Promise<void> {
  await line.database.asOwner('INSERT INTO quotas VALUES ($1, $2, 1000000)', ['acme', 'tool_calls_per_day']);
  await putTool(line.db('acme'), 'form.send', {
    adapter: 'http',
    description: 'x',
    inputSchema: SCHEMA,
    method: 'POST',
    url: `${line.tool.url}/forms/{place}/send`,
    effect: 'write',
    idempotency: 'keyed',
  });
}

async function inTurns<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_ONCE)
    await Promise.all(items.slice(at, at + AT_ONCE).map(work));
}
