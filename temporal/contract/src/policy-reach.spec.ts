import { describe, expect, it } from 'vitest';
import { agentId, toolId, workspaceId } from './ids.js';
import { compilePolicy } from './policy.js';
import type { OpenCall, PolicyDocument, PolicyMode, Reach } from './policy.js';

const CALL: OpenCall = {
  tool: toolId('bank.pay'),
  system: 'bank',
  effect: 'write',
  dataClasses: ['personal'],
  agent: agentId('clerk'),
  workspace: workspaceId('main'),
  destination: { host: 'api.bank.example', port: 443, path: undefined },
  argumentNames: ['amount', 'to'],
};
type Rules = PolicyDocument['rules'];
const ALLOW: Rules = [{ id: 'allow', effect: 'allow', tools: ['bank.*'] }];
const admins = { approvers: ['admin' as const], expiresInSeconds: 60 };
const operators = { approvers: ['operator' as const], expiresInSeconds: 60 };

const reach = (rules: Rules, call: Partial<OpenCall> = {}, mode: PolicyMode = 'enforce'): Reach =>
  compilePolicy({ mode, rules }).reach({ ...CALL, ...call });
const only = (when: Rules[number]['when']): Rules => [{ ...ALLOW[0]!, when }];
const but = (rule: Omit<Rules[number], 'id' | 'tools'>): Rules => [
  ...ALLOW,
  { id: 'other', tools: ['bank.pay'], ...rule },
];

describe('what a policy says to a tool before it is called', () => {
  it.each<[string, Rules, Reach['allowed']]>([
    ['nothing allows it', [], 'never'],
    ['another tool is allowed', [{ ...ALLOW[0]!, tools: ['crm.*'] }], 'never'],
    ['it is allowed', ALLOW, 'always'],
    ['it is allowed for this agent', only({ agent: { eq: 'clerk' } }), 'always'],
    ['it is allowed for another agent', only({ agent: { eq: 'boss' } }), 'never'],
    ['it is allowed for small amounts', only({ 'args.amount': { lt: 10 } }), 'sometimes'],
    ['it is allowed by day', only({ 'time.hour': { gte: 8 } }), 'sometimes'],
    ['it is allowed for an argument that it has not', only({ 'args.other': { ne: 1 } }), 'never'],
    ['it is allowed for a model, and is none', only({ model: { ne: 'x' } }), 'never'],
    ['it is allowed for its host', only({ 'destination.host': { domain: ['bank.example'] } }), 'always'],
    ['it is allowed for paths', only({ 'destination.path': { startsWith: '/x' } }), 'sometimes'],
    ['it is denied', but({ effect: 'deny' }), 'never'],
    ['what it answers is denied', but({ effect: 'deny', when: { 'data.personal': { eq: true } } }), 'never'],
    ['its host is denied', but({ effect: 'deny', when: { 'destination.port': { eq: 443 } } }), 'never'],
    [
      'it is denied after reading',
      but({ effect: 'deny', when: { 'run.read.x': { eq: true } } }),
      'sometimes',
    ],
    ['large amounts are denied', but({ effect: 'deny', when: { 'args.amount': { gt: 9 } } }), 'sometimes'],
    ['a deny rule cannot be read, ever', but({ effect: 'deny', when: { 'args.other': { gt: 9 } } }), 'never'],
    [
      'a deny rule does not hold, and may be unreadable',
      but({ effect: 'deny', when: { agent: { eq: 'boss' }, 'args.amount': { gt: 9 } } }),
      'sometimes',
    ],
    ['it is counted', but({ effect: 'limit', limit: { max: 1, per: 'day', of: 'run' } }), 'always'],
    [
      'an argument is added up',
      but({ effect: 'limit', limit: { max: 1, per: 'day', of: 'run', sum: 'args.amount' } }),
      'sometimes',
    ],
    [
      'an argument is added up that it has not',
      but({ effect: 'limit', limit: { max: 1, per: 'day', of: 'run', sum: 'args.other' } }),
      'never',
    ],
  ])('%s', (_, rules, allowed) => {
    expect(reach(rules).allowed).toBe(allowed);
  });

  it.each<[string, Rules, Reach]>([
    ['always', but({ effect: 'ask', approval: admins }), { allowed: 'always', asks: 'always' }],
    ['by the rule that allows', [{ ...ALLOW[0]!, approval: admins }], { allowed: 'always', asks: 'always' }],
    [
      'for large amounts',
      but({ effect: 'ask', approval: admins, when: { 'args.amount': { gt: 9 } } }),
      { allowed: 'sometimes', asks: 'sometimes' },
    ],
    [
      'never, for this agent',
      but({ effect: 'ask', approval: admins, when: { agent: { eq: 'boss' } } }),
      { allowed: 'always', asks: 'never' },
    ],
    [
      'people of whom nobody is all',
      [
        { ...ALLOW[0]!, approval: operators },
        { id: 'b', effect: 'ask', tools: ['*'], approval: admins },
      ],
      { allowed: 'never', asks: 'never' },
    ],
  ])('a person is asked: %s', (_, rules, expected) => {
    expect(reach(rules)).toEqual(expected);
  });

  it('a tool whose destination is an argument may be denied by its host', () => {
    const rules = but({ effect: 'deny', when: { 'destination.host': { domain: ['evil.org'] } } });
    expect(reach(rules, { destination: undefined }).allowed).toBe('sometimes');
    expect(reach(rules).allowed).toBe('always');
  });

  it('the arguments of a tool that takes any are not known', () => {
    expect(reach(only({ 'args.other': { ne: 1 } }), { argumentNames: undefined }).allowed).toBe('sometimes');
  });

  it('a mode decides as it does for a call', () => {
    expect(reach(ALLOW, {}, 'read-only').allowed).toBe('never');
    expect(reach(ALLOW, { effect: 'read' }, 'read-only').allowed).toBe('always');
    expect(reach([], {}, 'observe').allowed).toBe('always');
    expect(reach(ALLOW, {}, 'frozen').allowed).toBe('always');
  });
});
