import { describe, expect, it } from 'vitest';
import { agentId, buildRunId, tenantId, toolId, workspaceId } from './ids.js';
import { compilePolicy, DOCUMENT_CHARS_MAX, parsePolicy, timeFacts } from './policy.js';
import type { PolicyFacts } from './policy.js';

const FACTS: PolicyFacts = {
  tool: toolId('mail.send'),
  system: 'mail',
  effect: 'irreversible',
  destination: { host: 'api.mail.example', port: 443, path: '/v1/send' },
  args: { to: 'ann@corp.example', amount: 40 },
  agent: agentId('writer'),
  workspace: workspaceId('main'),
  actor: 'key:abc',
  runId: buildRunId(tenantId('acme'), '01jd0000000000000000000000'),
  dataClasses: ['personal'],
  time: timeFacts(new Date('2026-11-24T23:05:00Z')),
  run: { read: ['personal'], done: [toolId('invoice.approve')] },
};
const ALLOW = { id: 'all', effect: 'allow', tools: ['*'] };
const ASK = { approvers: ['admin'], expiresInSeconds: 60 };

function decide(rules: readonly object[], over: Partial<PolicyFacts> = {}, mode?: string) {
  const parsed = parsePolicy({ rules, ...(mode === undefined ? {} : { mode }) });
  if (parsed.kind === 'invalid') throw new Error(JSON.stringify(parsed.problems));
  return compilePolicy(parsed.document).evaluate({ ...FACTS, ...over });
}
/** Both sides of one condition: as the only allow rule, and as a deny rule beside one that allows everything. */
function sides(when: object, over: Partial<PolicyFacts> = {}): string {
  const allows = decide([{ id: 'r', effect: 'allow', tools: ['*'], when }], over).kind === 'allow';
  const denies = decide([ALLOW, { id: 'r', effect: 'deny', tools: ['*'], when }], over).kind === 'deny';
  return `${allows ? 'allows' : '-'} ${denies ? 'denies' : '-'}`;
}
const HOLDS = 'allows denies';
const FAILS = '- -';
/** A rule that cannot read its fact never allows and always denies. */
const UNREADABLE = '- denies';

describe('conditions', () => {
  it.each([
    ['a prefix', { 'destination.path': { startsWith: '/v1/' } }, HOLDS],
    ['another prefix', { 'destination.path': { startsWith: '/v2/' } }, FAILS],
    ['a suffix', { 'destination.path': { endsWith: '/send' } }, HOLDS],
    ['a prefix and more', { 'destination.path': { startsWith: '/v1/', ne: '/v1/send' } }, FAILS],
    ['a prefix of a number', { 'args.amount': { startsWith: '4' } }, UNREADABLE],
    ['the hour (UTC)', { 'time.hour': { gte: 22 } }, HOLDS],
    ['the minute of the day', { 'time.minute': { eq: 1385 } }, HOLDS],
    ['the weekday', { 'time.weekday': { in: ['saturday', 'sunday'] } }, FAILS],
    ['the date', { 'time.date': { lt: '2026-12-01' } }, HOLDS],
    ['a class that the tool may answer with', { 'data.personal': { eq: true } }, HOLDS],
    ['another class', { 'data.secret': { eq: true } }, FAILS],
    ['a class that the run has read', { 'run.read.personal': { eq: true } }, HOLDS],
    ['a class that it has not read', { 'run.read.health': { eq: true } }, FAILS],
    ['an earlier effect of the run', { 'run.done.invoice.approve': { eq: true } }, HOLDS],
    ['one that has not happened', { 'run.done.invoice.review': { eq: false } }, HOLDS],
    ['a model where there is none', { model: { eq: 'gpt' } }, UNREADABLE],
  ])('look at %s', (_, when, expected) => {
    expect(sides(when)).toBe(expected);
  });

  it('look at the model of a model tool', () => {
    expect(sides({ model: { in: ['small'] } }, { model: 'small' })).toBe(HOLDS);
    expect(sides({ model: { in: ['small'] } }, { model: 'large' })).toBe(FAILS);
  });
});

describe('the domain of a recipient', () => {
  const at = (to: unknown) => sides({ 'args.to': { domain: ['corp.example'] } }, { args: { to } as never });
  it.each(['ann@corp.example', 'ANN@Corp.Example', 'ann@mail.corp.example', 'corp.example', 'corp.example.'])(
    '%s is in it',
    (to) => {
      expect(at(to)).toBe(HOLDS);
    },
  );
  it.each(['ann@evilcorp.example', 'ann@corp.example.evil.org', 'corp.example@evil.org'])(
    '%s is not',
    (to) => {
      expect(at(to)).toBe(FAILS);
    },
  );
  it.each([
    'ann@evil.org, bob@corp.example',
    'bob@evil.org@corp.example',
    'Bob <bob@corp.example>',
    '"a@evil.org"@corp.example',
    'bob@corp.example\nbcc: eve@evil.org',
    'bob@соrp.example',
    'bob@corp.example>',
    'bob@[127.0.0.1]',
    '@corp.example',
    '',
    7,
    null,
    undefined,
    ['bob@corp.example'],
  ])('attack: %j, which two mailers may read differently, is unreadable', (to) => {
    expect(at(to)).toBe(UNREADABLE);
    expect(sides({ 'args.to': { notDomain: ['corp.example'] } }, { args: { to } as never })).toBe(UNREADABLE);
  });
});

describe('a list of recipients', () => {
  const at = (to: unknown) => sides({ 'args.to[]': { domain: ['corp.example'] } }, { args: { to } as never });
  it('allows when every element holds, and denies when one does', () => {
    expect(at(['a@corp.example', 'b@corp.example'])).toBe(HOLDS);
    expect(at(['a@corp.example', 'b@evil.org'])).toBe(UNREADABLE);
    expect(at(['a@evil.org', 'b@evil.org'])).toBe(FAILS);
  });
  it.each([
    [[]],
    ['a@corp.example'],
    [['a@corp.example', 7]],
    [['a@corp.example', null]],
    [null],
    [undefined],
  ])('%j cannot be read', (to) => {
    expect(at(to)).toBe(UNREADABLE);
  });
  it('of more than 1,000 elements cannot be read', () => {
    expect(at(Array.from({ length: 1_000 }, () => 'a@corp.example'))).toBe(HOLDS);
    expect(at(Array.from({ length: 1_001 }, () => 'a@corp.example'))).toBe(UNREADABLE);
  });
});

describe('an ask rule', () => {
  const ask = { id: 'ask', effect: 'ask', tools: ['mail.*'], approval: ASK };
  it('restricts what another rule allows, and allows nothing itself', () => {
    expect(decide([ALLOW, ask])).toEqual({ kind: 'allow', rule: 'ask', approval: ASK });
    expect(decide([ask])).toMatchObject({ kind: 'deny', rule: 'default-deny' });
  });
  it('denies when it cannot read its facts', () => {
    expect(decide([ALLOW, { ...ask, when: { 'args.cc': { eq: 'x' } } }])).toMatchObject({
      kind: 'deny',
      rule: 'ask',
    });
  });
});

describe('a limit rule', () => {
  const limit = (over: object = {}, when?: object) => ({
    id: 'limit',
    effect: 'limit',
    tools: ['*'],
    limit: { max: 100, per: 'hour', of: 'agent', ...over },
    ...(when ? { when } : {}),
  });
  it('says what admit has to take, in an order that does not depend on the document', () => {
    const rules = [limit({ sum: 'args.amount' }), { ...limit({ of: 'tenant' }), id: 'z' }, ALLOW];
    const taken = [
      { rule: 'z', of: 'tenant', per: 'hour', max: 100, amount: 1 },
      { rule: 'limit', of: 'agent', per: 'hour', max: 100, amount: 40 },
    ];
    expect(decide(rules)).toEqual({ kind: 'allow', rule: 'all', limits: taken });
    expect(decide(rules.toReversed())).toEqual({ kind: 'allow', rule: 'all', limits: taken });
  });
  it.each([
    [{}],
    [{ amount: null }],
    [{ amount: '4' }],
    [{ amount: -1 }],
    [{ amount: Number.NaN }],
    [{ amount: [1] }],
  ])('denies when what it adds up is %j', (args) => {
    expect(decide([ALLOW, limit({ sum: 'args.amount' })], { args: args as never })).toMatchObject({
      kind: 'deny',
      rule: 'limit',
    });
  });
  it('counts only what its conditions hold for', () => {
    expect(decide([ALLOW, limit({}, { 'args.amount': { gt: 100 } })])).toEqual({
      kind: 'allow',
      rule: 'all',
    });
    expect(decide([limit()])).toMatchObject({ kind: 'deny', rule: 'default-deny' });
  });
});

describe('modes', () => {
  const deny = { id: 'never', effect: 'deny', tools: ['mail.*'], reason: 'No mail.' };
  it('read-only refuses whatever changes something, and lets reads go on', () => {
    expect(decide([ALLOW], {}, 'read-only')).toMatchObject({ kind: 'deny', rule: 'read-only' });
    expect(decide([ALLOW], { effect: 'write' }, 'read-only')).toMatchObject({ kind: 'deny' });
    expect(decide([ALLOW], { effect: 'read' }, 'read-only')).toMatchObject({ kind: 'allow', rule: 'all' });
    expect(decide([], { effect: 'read' }, 'read-only')).toMatchObject({ kind: 'deny' });
  });
  it('observe refuses nothing and says what would have been', () => {
    const observed = { rule: 'never', message: 'No mail.' };
    expect(decide([ALLOW, deny], {}, 'observe')).toEqual({ kind: 'allow', rule: 'observe-only', observed });
    expect(decide([{ ...ALLOW, approval: ASK }], {}, 'observe')).toMatchObject({
      rule: 'observe-only',
      observed: { rule: 'all' },
    });
    expect(decide([ALLOW], {}, 'observe')).toEqual({ kind: 'allow', rule: 'all' });
  });
  it('frozen decides as enforce', () => {
    expect(decide([ALLOW, deny], {}, 'frozen')).toEqual(decide([ALLOW, deny]));
  });
});

describe('a hostile document', () => {
  const cyclic: { rules: unknown[] } = { rules: [] };
  cyclic.rules.push({ ...ALLOW, when: cyclic });
  const wide: unknown[] = [];
  for (let i = 0; i < 1_000; i += 1) wide.push(wide);
  const deep = JSON.parse(`{"rules":${'['.repeat(5_000)}${']'.repeat(5_000)}}`) as unknown;
  it.each([
    [
      'has a condition that a parser would drop',
      '{"rules":[{"id":"a","effect":"allow","tools":["*"],"when":{"__proto__":{"eq":1}}}]}',
      'document.rules.0.when.__proto__',
    ],
    ['sets a prototype', '{"rules":[],"__proto__":{"mode":"observe"}}', 'document.__proto__'],
    [
      'names a constructor',
      '{"rules":[],"constructor":{"prototype":{"mode":"observe"}}}',
      'document.constructor',
    ],
    [
      'has a regular expression',
      '{"rules":[{"id":"a","effect":"allow","tools":["*"],"when":{"tool":{"regex":"(a+)+$"}}}]}',
      'document.rules.0.when.tool.regex',
    ],
    [
      'has an operator of the engine below',
      '{"rules":[{"id":"a","effect":"deny","tools":["*"],"when":{"tool":{"$exists":false}}}]}',
      'document.rules.0.when.tool.$exists',
    ],
    ['has an unknown mode', '{"rules":[],"mode":"off"}', 'document.mode'],
    ['is a list', '[]', 'document'],
    ['has a NUL', '{"rules":[{"id":"a","effect":"deny","tools":["*"],"reason":"\\u0000"}]}', 'document'],
    ['is 2 MB', `{"rules":[],"mode":"${'x'.repeat(2_000_000)}"}`, 'document'],
  ])('%s: refused with its place', (_, text, path) => {
    const parsed = parsePolicy(JSON.parse(text));
    expect(parsed.kind === 'invalid' && parsed.problems[0].path).toBe(path);
  });
  it.each([
    ['cyclic', cyclic],
    ['cyclic a thousand times', wide],
    ['5,000 levels deep', deep],
    ['no JSON', undefined],
    ['a function', () => undefined],
    ['a big integer', { rules: [1n] }],
  ])('is %s: refused at once', (_, value) => {
    const began = performance.now();
    expect(parsePolicy(value).kind).toBe('invalid');
    expect(performance.now() - began).toBeLessThan(250);
  });
  it('pollutes nothing', () => {
    parsePolicy(
      JSON.parse('{"rules":[],"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}'),
    );
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
  it('of just under 1 MB is read within half a second', () => {
    const rules = Array.from({ length: 1_900 }, (_, i) => ({
      id: `r${i}`,
      effect: 'allow',
      tools: ['*'],
      when: { 'args.x': { in: [`${i}`, 'x'.repeat(440)] } },
    }));
    const text = JSON.stringify({ rules });
    expect(text.length).toBeLessThan(DOCUMENT_CHARS_MAX);
    const began = performance.now();
    expect(parsePolicy(JSON.parse(text)).kind).toBe('document');
    expect(performance.now() - began).toBeLessThan(500);
  });
});
