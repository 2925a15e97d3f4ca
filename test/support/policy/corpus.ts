import { agentId, buildRunId, tenantId, toolId, workspaceId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { timeFacts } from '@bulkhead/contract/policy';
import type { PolicyDocument, PolicyFacts, PolicyRule } from '@bulkhead/contract/policy';
import type { Random } from '../random.js';

/** Made-up policies and calls: small value sets, so that rules hold, fail and cannot be read about equally often. */

const TOOLS = ['*', 'bank.*', 'bank.pay', 'crm.*', 'crm.read', 'bank.pay.*'] as const;
const CALLED = ['bank.pay', 'crm.read', 'bankrupt.pay'] as const;
const WORDS = ['a', 'ab', 'b', ''] as const;
const DOMAINS = ['corp.example', 'evil.org', 'example'] as const;
/** Addresses by hand: whether there is exactly one way to read them. */
export const ADDRESSES: readonly (readonly [string, boolean])[] = [
  ['ann@corp.example', true],
  ['bob@mail.corp.example', true],
  ['eve@evil.org', true],
  ['eve@notcorp.example', true],
  ['corp.example', true],
  ['ann@corp.example, eve@evil.org', false],
  ['Ann <ann@corp.example>', false],
  ['eve@evil.org@corp.example', false],
  ['', false],
];

export interface Kinds {
  /** Only what the other engine can express: no order of texts, lists by membership, no sums. */
  readonly portable: boolean;
}

export function someDocument(random: Random, kinds: Kinds): PolicyDocument {
  const rules = Array.from({ length: random.below(9) }, (_, i) => someRule(random, kinds, `r${i}`));
  return { rules };
}

function someRule(random: Random, kinds: Kinds, id: string): PolicyRule {
  const effect = random.pick(['allow', 'allow', 'allow', 'deny', 'ask', 'limit'] as const);
  const conditions = Array.from({ length: random.below(3) }, () => someCondition(random, kinds));
  const asks = effect === 'ask' || (effect === 'allow' && random.below(4) === 0);
  const approvers = kinds.portable
    ? (['admin'] as const)
    : random.pick([['admin'], ['operator'], ['operator', 'admin']] as const);
  return {
    id,
    effect,
    tools: [random.pick(TOOLS)],
    ...(conditions.length === 0 ? {} : { when: Object.fromEntries(conditions) }),
    ...(asks ? { approval: { approvers: [...approvers], expiresInSeconds: 60 + random.below(3) } } : {}),
    ...(effect === 'limit' ? { limit: someLimit(random, kinds) } : {}),
  };
}

function someLimit(random: Random, { portable }: Kinds): NonNullable<PolicyRule['limit']> {
  return {
    max: random.below(10),
    per: random.pick(['hour', 'ever']),
    of: random.pick(['tenant', 'workspace', 'agent', 'run']),
    ...(portable || random.below(2) === 0 ? {} : { sum: 'args.a' }),
  };
}

type Condition = readonly [string, NonNullable<PolicyRule['when']>[string]];

function someCondition(random: Random, { portable }: Kinds): Condition {
  const number = (): number => random.below(4);
  const word = (): string => random.pick(WORDS);
  const domains = (): string[] => [random.pick(DOMAINS), random.pick(DOMAINS)];
  const argument = random.pick(['args.a', 'args.b', 'args.deep.c']);
  const choices: readonly (() => Condition)[] = [
    () => [argument, { [random.pick(['eq', 'ne', 'gt', 'gte', 'lt', 'lte'])]: number() }],
    () => [argument, { gt: number(), lt: number() }],
    () => [argument, { [random.pick(['in', 'notIn'])]: [number(), number()] }],
    () => [argument, { [random.pick(['eq', 'ne'])]: word() }],
    () => [argument, { [random.pick(['startsWith', 'endsWith'])]: random.pick(['a', 'b', 'ab']) }],
    () => [argument, { [random.pick(['eq', 'ne'])]: random.below(2) === 0 }],
    () => ['args.to', { [random.pick(['domain', 'notDomain'])]: domains() }],
    () => ['args.list[]', { [random.pick(portable ? ['in'] : ['in', 'notIn'])]: [word(), word()] }],
    () => [
      random.pick(['run.read.personal', 'run.done.crm.read', 'data.personal']),
      { eq: random.below(2) === 0 },
    ],
    () => ['time.hour', { [random.pick(['gte', 'lt'])]: random.below(24) }],
    () => ['destination.host', { domain: domains() }],
    () => ['model', { eq: random.pick(['small', 'large']) }],
    ...(portable ? [] : [(): Condition => [argument, { [random.pick(['gt', 'lte'])]: word() }]]),
  ];
  return random.pick(choices)();
}

/** A value of any type, present or not. */
function someValue(random: Random): Json | undefined {
  return random.pick([
    () => random.below(4),
    () => random.below(4) - 2,
    () => random.pick(WORDS),
    () => random.below(2) === 0,
    () => null,
    () => undefined,
    () => [random.below(4)],
    () => ({ valueOf: 1 }),
  ])();
}

export function someCall(random: Random): PolicyFacts {
  const tool = random.pick(CALLED);
  const list = random.pick<() => Json | undefined>([
    () => [random.pick(WORDS), random.pick(WORDS)],
    () => [random.pick(WORDS), 1],
    () => [],
    () => random.pick(WORDS),
    () => undefined,
  ])();
  const args = {
    a: someValue(random),
    b: someValue(random),
    deep: random.pick<() => Json | undefined>([
      () => undefined,
      () => null,
      () => 1,
      () => ({ c: random.below(4) }),
      () => [{ c: 1 }],
    ])(),
    to: random.below(5) === 0 ? someValue(random) : random.pick(ADDRESSES)[0],
    list,
  };
  return {
    tool: toolId(tool),
    system: tool.split('.')[0] ?? '',
    effect: random.pick(['read', 'write', 'irreversible']),
    destination: { host: random.pick(['corp.example', 'api.evil.org', 'mcp:memory']), path: '/' },
    args: Object.fromEntries(Object.entries(args).filter(([, value]) => value !== undefined)),
    agent: agentId('tester'),
    workspace: workspaceId('main'),
    actor: 'key:x',
    runId: buildRunId(tenantId('acme'), '01jd0000000000000000000000'),
    dataClasses: random.pick([[], ['personal']]),
    ...random.pick([{}, { model: 'small' }, { model: 'large' }]),
    time: timeFacts(new Date(Date.UTC(2026, 10, 24, random.below(24)))),
    run: { read: random.pick([[], ['personal']]), done: random.pick([[], ['crm.read']]) },
  };
}
