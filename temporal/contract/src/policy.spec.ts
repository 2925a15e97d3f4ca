import { createMongoAbility, subject } from '@casl/ability';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { agentId, buildRunId, tenantId, toolId, workspaceId } from './ids.js';
import { compilePolicy, DEFAULT_DENY, PolicyDocumentSchema } from './policy.js';
import type { PolicyFacts, PolicyRule } from './policy.js';

const facts = (over: Partial<PolicyFacts> = {}): PolicyFacts => ({
  tool: toolId('bank.transfer'),
  system: 'bank',
  effect: 'irreversible',
  dataClasses: [],
  destination: { host: 'bank.example', port: 443, path: '/transfers' },
  args: { amount: 50 },
  agent: agentId('payer'),
  workspace: workspaceId('main'),
  actor: 'key:abc',
  runId: buildRunId(tenantId('acme'), '01jd0000000000000000000000'),
  time: { hour: 9, minute: 545, weekday: 'monday', date: '2026-11-23' },
  run: { read: [], done: [] },
  ...over,
});
const rule = (over: Partial<PolicyRule> & { id: string }): PolicyRule => ({
  effect: 'allow',
  tools: ['*'],
  ...over,
});
const decide = (rules: PolicyRule[], over: Partial<PolicyFacts> = {}) =>
  compilePolicy(PolicyDocumentSchema.parse({ rules })).evaluate(facts(over));

const ALLOW = rule({ id: 'allow-all' });
const DENY_LARGE = rule({ id: 'deny-large', effect: 'deny', when: { 'args.amount': { gt: 100 } } });

describe('a policy decides', () => {
  it('refuses what no rule allows', () => {
    expect(decide([])).toMatchObject({ kind: 'deny', rule: DEFAULT_DENY });
    expect(decide([rule({ id: 'other', tools: ['bank.balance', 'crm.*'] })])).toMatchObject({
      kind: 'deny',
      rule: DEFAULT_DENY,
    });
  });

  it('matches a tool by exact id, by prefix and by star, and a prefix only at a dot', () => {
    for (const pattern of ['bank.transfer', 'bank.*', '*']) {
      expect(decide([rule({ id: 'r', tools: [pattern] })])).toMatchObject({ kind: 'allow', rule: 'r' });
    }
    expect(decide([rule({ id: 'r', tools: ['bank.*'] })], { tool: toolId('bankrupt.transfer') }).kind).toBe(
      'deny',
    );
    expect(decide([rule({ id: 'r', tools: ['bank.transfer.*'] })]).kind).toBe('deny');
  });

  it.each([
    [{ eq: 50 }, true],
    [{ eq: 51 }, false],
    [{ ne: 51 }, true],
    [{ ne: 50 }, false],
    [{ in: [1, 50] }, true],
    [{ in: [1, 2] }, false],
    [{ notIn: [1, 2] }, true],
    [{ notIn: [1, 50] }, false],
    [{ gt: 49, lt: 51 }, true],
    [{ gt: 50 }, false],
    [{ gte: 50, lte: 50 }, true],
    [{ lt: 50 }, false],
  ])('compares an argument of 50 with %j: %s', (test, holds) => {
    expect(decide([rule({ id: 'r', when: { 'args.amount': test } })]).kind).toBe(holds ? 'allow' : 'deny');
    expect(decide([ALLOW, rule({ id: 'r', effect: 'deny', when: { 'args.amount': test } })]).kind).toBe(
      holds ? 'deny' : 'allow',
    );
  });

  it('asks for approval when any rule that allows asks, and only roles that all of them name may decide', () => {
    const ask = (id: string, approvers: ('admin' | 'operator')[], expiresInSeconds: number) =>
      rule({ id, approval: { approvers, expiresInSeconds } });
    expect(decide([ask('a', ['admin', 'operator'], 60), ALLOW, ask('b', ['operator'], 30)])).toEqual({
      kind: 'allow',
      rule: 'a',
      approval: { approvers: ['operator'], expiresInSeconds: 30 },
    });
    expect(decide([ask('a', ['admin'], 60), ask('b', ['operator'], 60)]).kind).toBe('deny');
  });

  it('shows the reason that the rule gives', () => {
    expect(decide([ALLOW, { ...DENY_LARGE, reason: 'Too much.' }], { args: { amount: 101 } })).toEqual({
      kind: 'deny',
      rule: 'deny-large',
      message: 'Too much.',
    });
  });
});

describe("CASL's fail-open traps are closed", () => {
  it('trap: `cannot` before `can` allows', () => {
    const naive = createMongoAbility([
      { action: 'call', subject: 'Call', inverted: true },
      { action: 'call', subject: 'Call' },
    ]);
    expect(naive.can('call', subject('Call', {}))).toBe(true);
    expect(decide([rule({ id: 'never', effect: 'deny' }), ALLOW])).toMatchObject({
      kind: 'deny',
      rule: 'never',
    });
  });

  it('trap: asking by type name ignores conditions', () => {
    const naive = createMongoAbility([{ action: 'call', subject: 'Call', conditions: { amount: 1 } }]);
    expect(naive.can('call', 'Call')).toBe(true);
    expect(decide([rule({ id: 'small', when: { 'args.amount': { lte: 10 } } })])).toMatchObject({
      rule: DEFAULT_DENY,
    });
  });

  it.each([
    ['absent', {}],
    ['null', { amount: null }],
    ['a numeric text', { amount: '5' }],
    ['an array with a small element', { amount: [5, 5_000] }],
    ['an object', { amount: { valueOf: 5 } }],
    ['on the prototype only', Object.create({ amount: 5 }) as object],
  ])('trap: a fact that is %s passes a deny condition', (_, args) => {
    const naive = createMongoAbility([
      { action: 'call', subject: 'Call' },
      { action: 'call', subject: 'Call', inverted: true, conditions: { amount: { $gt: 100_000 } } },
    ]);
    expect(naive.can('call', subject('Call', { ...args }))).toBe(true);
    const untyped = { args: args as PolicyFacts['args'] };
    expect(decide([ALLOW, DENY_LARGE], untyped)).toMatchObject({ kind: 'deny', rule: 'deny-large' });
    const approval = rule({
      id: 'ask',
      when: { 'args.amount': { gt: 1 } },
      approval: { approvers: ['admin'], expiresInSeconds: 60 },
    });
    expect(decide([ALLOW, approval], untyped)).toMatchObject({ kind: 'deny', rule: 'ask' });
  });

  it('trap: `ne` and `notIn` hold for an absent fact, so an allow rule would match', () => {
    const naive = createMongoAbility([
      { action: 'call', subject: 'Call', conditions: { to: { $ne: 'evil' } } },
    ]);
    expect(naive.can('call', subject('Call', {}))).toBe(true);
    for (const test of [{ ne: 'evil' }, { notIn: ['evil'] }]) {
      expect(decide([rule({ id: 'r', when: { 'args.to': test } })], { args: {} })).toMatchObject({
        rule: DEFAULT_DENY,
      });
      expect(decide([rule({ id: 'r', when: { 'args.to': test } })], { args: { to: 7 } })).toMatchObject({
        rule: DEFAULT_DENY,
      });
    }
  });

  it('trap: one element of an array satisfies an allow condition', () => {
    const naive = createMongoAbility([{ action: 'call', subject: 'Call', conditions: { to: 'friend' } }]);
    expect(naive.can('call', subject('Call', { to: ['friend', 'stranger'] }))).toBe(true);
    expect(
      decide([rule({ id: 'r', when: { 'args.to': { eq: 'friend' } } })], {
        args: { to: ['friend', 'stranger'] },
      }).kind,
    ).toBe('deny');
    expect(
      decide([rule({ id: 'r', when: { 'args.to.name': { eq: 'friend' } } })], {
        args: { to: [{ name: 'friend' }] },
      }).kind,
    ).toBe('deny');
  });

  it('trap: a deny on a field passes when no field is given, so there are no field rules', () => {
    const naive = createMongoAbility([
      { action: 'call', subject: 'Call' },
      { action: 'call', subject: 'Call', inverted: true, fields: ['amount'] },
    ]);
    expect(naive.can('call', subject('Call', { amount: 1 }))).toBe(true);
    expect(PolicyDocumentSchema.safeParse({ rules: [{ ...DENY_LARGE, fields: ['amount'] }] }).success).toBe(
      false,
    );
  });
});

describe('a document', () => {
  it.each([
    ['a fact on the prototype chain', { when: { 'args.__proto__.admin': { eq: true } } }],
    ['a constructor', { when: { 'args.constructor.name': { eq: 'x' } } }],
    ['an unknown fact', { when: { tenant: { eq: 'x' } } }],
    ['an unknown operator', { when: { tool: { regex: '.*' } } }],
    ['no operator', { when: { tool: {} } }],
    ['mixed types', { when: { 'args.x': { in: [1, '1'] } } }],
    ['operators of different types', { when: { 'args.x': { gt: 1, lt: 'z' } } }],
    ['null as an operand', { when: { 'args.x': { eq: null } } }],
    [
      'an approval on a deny rule',
      { effect: 'deny', approval: { approvers: ['admin'], expiresInSeconds: 1 } },
    ],
    ['nobody who may approve', { approval: { approvers: [], expiresInSeconds: 1 } }],
    ['a reserved id', { id: DEFAULT_DENY }],
    ['a pattern with a star inside', { tools: ['bank.*.x'] }],
    ['no tool', { tools: [] }],
  ])('may not have %s', (_, over) => {
    expect(
      PolicyDocumentSchema.safeParse({ rules: [{ id: 'r', effect: 'allow', tools: ['*'], ...over }] })
        .success,
    ).toBe(false);
  });

  it('may not have two rules with one id, nor more than 2,000', () => {
    expect(PolicyDocumentSchema.safeParse({ rules: [ALLOW, ALLOW] }).success).toBe(false);
    const many = Array.from({ length: 2_001 }, (_, i) => rule({ id: `r${i}` }));
    expect(PolicyDocumentSchema.safeParse({ rules: many }).success).toBe(false);
  });
});

const value = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constantFrom('a', 'b'), fc.boolean());
const test = fc.oneof(
  fc.record({ eq: value }),
  fc.record({ ne: value }),
  fc.record({ gt: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ notIn: fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 2 }) }),
);
const someRules: fc.Arbitrary<PolicyRule[]> = fc
  .array(
    fc.record({
      effect: fc.constantFrom('allow' as const, 'deny' as const),
      tools: fc.constantFrom('*', 'bank.*', 'crm.read'),
      when: fc.dictionary(fc.constantFrom('args.x', 'args.y'), test, { maxKeys: 2 }),
      ask: fc.boolean(),
    }),
    { maxLength: 6 },
  )
  .map((drafts) =>
    drafts.map(({ ask, effect, tools, when }, i) => {
      const approval = { approvers: ['admin' as const], expiresInSeconds: 60 + i };
      return {
        id: `r${i}`,
        effect,
        tools: [tools],
        when,
        ...(ask && effect === 'allow' ? { approval } : {}),
      };
    }),
  );
const someArgs = fc.dictionary(
  fc.constantFrom('x', 'y'),
  fc.oneof(value, fc.constant(null), fc.array(value, { maxLength: 2 })),
);

describe('for every policy and every call', () => {
  it('row order means nothing', () => {
    fc.assert(
      fc.property(someRules, someArgs, fc.infiniteStream(fc.nat()), (rules, args, dice) => {
        const shuffled = rules
          .map((each) => ({ each, at: dice.next().value ?? 0 }))
          .sort((a, b) => a.at - b.at)
          .map(({ each }) => each);
        expect(decide(shuffled, { args })).toEqual(decide(rules, { args }));
      }),
      { numRuns: 400 },
    );
  });

  it('deny always wins: a deny rule that holds alone, holds in any company', () => {
    fc.assert(
      fc.property(someRules, someArgs, (rules, args) => {
        // alone, without a rule that allows: whether it holds must not depend on what is looked for here
        const holds = (each: PolicyRule): boolean => {
          const alone = decide([each], { args });
          return each.effect === 'deny' && alone.kind === 'deny' && alone.rule === each.id;
        };
        const denied = rules.some(holds);
        expect({ denied, kind: decide(rules, { args }).kind }).not.toEqual({ denied: true, kind: 'allow' });
      }),
      { numRuns: 400 },
    );
  });

  it('a rule that allows everything never lifts a refusal that another rule made', () => {
    fc.assert(
      fc.property(someRules, someArgs, (rules, args) => {
        const before = decide(rules, { args });
        fc.pre(before.kind === 'deny' && before.rule !== DEFAULT_DENY);
        expect(decide([...rules, ALLOW], { args })).toEqual(before);
      }),
      { numRuns: 400 },
    );
  });
});
