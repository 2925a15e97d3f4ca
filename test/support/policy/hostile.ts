import { DOCUMENT_CHARS_MAX, RULES_MAX } from '@bulkhead/contract/policy';
import { seededRandom } from '../random.js';

interface Hostile {
  readonly why: string;
  readonly document: unknown;
}

const RULE = { id: 'r', effect: 'allow', tools: ['*'], when: { 'args.x': { eq: 1 } } };
const json = (text: string): unknown => JSON.parse(text) as unknown;
const withRule = (over: object): unknown => ({ rules: [{ ...RULE, ...over }] });
const withTest = (test: string, path = 'args.x'): unknown =>
  json(`{"rules":[{"id":"r","effect":"deny","tools":["*"],"when":{"${path}":${test}}}]}`);

/** Names that some layer below could take for something else. */
const NAMES = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  '$where',
  '$or',
  '$regex',
  '$exists',
  '$elemMatch',
  'regex',
  'matches',
  'not',
];
/** Patterns that hold up a backtracking engine; nothing here ever compiles one. */
const BOMBS = ['(a+)+$', '(a|aa)+$', '([a-zA-Z]+)*$', '^(([a-z])+.)+[A-Z]([a-z])+$'];

/** Documents that must be refused, each with its defect; the same `count` gives the same list. */
export function hostileDocuments(count: number): readonly Hostile[] {
  const random = seededRandom(count);
  const fixed = fixedOnes();
  const more = Array.from({ length: Math.max(0, count - fixed.length) }, (): Hostile => {
    const name = random.pick(NAMES);
    const bomb = JSON.stringify(random.pick(BOMBS).repeat(1 + random.below(50)));
    return random.pick<() => Hostile>([
      () => ({ why: `operator ${name}`, document: withTest(`{"${name}":${bomb}}`) }),
      () => ({
        why: `operator ${name} beside a good one`,
        document: withTest(`{"eq":1,"${name}":{"eq":1}}`),
      }),
      () => ({ why: `fact ${name}`, document: withTest('{"eq":1}', name) }),
      () => ({ why: `fact args.${name}.x`, document: withTest('{"eq":1}', `args.${name}.\\u0000`) }),
      () => ({
        why: `field ${name} of a rule`,
        document: json(`{"rules":[{"id":"r","effect":"allow","tools":["*"],"${name}":{}}]}`),
      }),
      () => ({ why: `field ${name} of the document`, document: json(`{"rules":[],"${name}":{"rules":[]}}`) }),
      () => ({
        why: 'deep nesting',
        document: json(
          `{"rules":${'['.repeat(10 + random.below(3_000))}${']'.repeat(0)}`.replace(
            /\[+$/,
            (open) => open + ']'.repeat(open.length),
          ) + '}',
        ),
      }),
      () => ({
        why: 'no fit of types',
        document: withTest(`{"gt":1,"lt":"${'z'.repeat(random.below(20))}"}`),
      }),
    ])();
  });
  return [...fixed, ...more];
}

function fixedOnes(): Hostile[] {
  const cyclic: { rules: unknown[] } = { rules: [] };
  cyclic.rules.push({ ...RULE, when: { 'args.x': cyclic } });
  const wide: unknown[] = [];
  for (let i = 0; i < 1_000; i += 1) wide.push(wide);
  return [
    { why: 'cyclic', document: cyclic },
    { why: 'cyclic and wide', document: { rules: wide } },
    { why: 'larger than 1 MB', document: withRule({ reason: 'x'.repeat(DOCUMENT_CHARS_MAX) }) },
    { why: '1 MB of one list', document: withTest(`{"in":[${'1,'.repeat(400_000)}1]}`) },
    {
      why: 'too many rules',
      document: { rules: Array.from({ length: RULES_MAX + 1 }, (_, i) => ({ ...RULE, id: `r${i}` })) },
    },
    { why: 'two rules with one id', document: { rules: [RULE, { ...RULE, effect: 'deny' }] } },
    {
      why: 'an approval that nobody may give',
      document: withRule({ approval: { approvers: [], expiresInSeconds: 60 } }),
    },
    {
      why: 'an approval on a deny rule',
      document: withRule({ effect: 'deny', approval: { approvers: ['admin'], expiresInSeconds: 60 } }),
    },
    { why: 'a limit on an allow rule', document: withRule({ limit: { max: 1, per: 'day', of: 'tenant' } }) },
    {
      why: 'a limit below zero',
      document: withRule({ effect: 'limit', limit: { max: -1, per: 'day', of: 'tenant' } }),
    },
    {
      why: 'a limit without end',
      document: withRule({
        effect: 'limit',
        limit: { max: Number.POSITIVE_INFINITY, per: 'day', of: 'tenant' },
      }),
    },
    {
      why: 'a sum of what is no argument',
      document: withRule({
        effect: 'limit',
        limit: { max: 1, per: 'day', of: 'tenant', sum: 'args.__proto__' },
      }),
    },
    { why: 'an unknown effect', document: withRule({ effect: 'permit' }) },
    { why: 'an unknown mode', document: { rules: [], mode: 'off' } },
    { why: 'half a character', document: withRule({ reason: '\ud800' }) },
    { why: 'null', document: null },
    { why: 'a text', document: '{"rules":[]}' },
    { why: 'a list', document: [] },
    { why: 'rules that are no list', document: { rules: { length: 1, 0: RULE } } },
  ];
}
