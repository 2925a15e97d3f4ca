import { agentId, buildRunId, tenantId, toolId, workspaceId } from '@bulkhead/contract';
import { compilePolicy, NOTHING_YET, parsePolicy, timeFacts } from '@bulkhead/contract/policy';
import type { CompiledPolicy, PolicyFacts } from '@bulkhead/contract/policy';
import type { Proof, ProofSize } from '../proofs/proof.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 3, ci: 15, full: 51 };
const CALLS: Record<ProofSize, number> = { tiny: 500, ci: 20_000, full: 100_000 };
const RULES = 1_000;
const CONDITIONAL = 20;
const GOAL_US = 10;

const FACTS: PolicyFacts = {
  tool: toolId('bank.pay'),
  system: 'bank',
  effect: 'irreversible',
  destination: { host: 'bank.example', port: 443, path: '/pay' },
  args: { amount: 50, currency: 'EUR', to: 'ann@corp.example', note: 'x'.repeat(200) },
  agent: agentId('payer'),
  workspace: workspaceId('main'),
  actor: 'key:abc',
  runId: buildRunId(tenantId('acme'), '01jd0000000000000000000000'),
  dataClasses: [],
  time: timeFacts(new Date('2026-11-24T12:00:00Z')),
  run: NOTHING_YET,
};

/** Conditions of each kind in turn: numbers, texts, lists, recipients, the destination. None of the deny rules holds. */
const CONDITIONS = [
  (i: number) => ({ 'args.amount': { gt: 1_000 + i } }),
  (i: number) => ({ 'args.currency': { in: ['USD', `X${i}`] } }),
  (i: number) => ({ 'args.to': { domain: [`evil${i}.org`] } }),
  (i: number) => ({ 'destination.host': { eq: `evil${i}.org` }, 'time.hour': { gte: 22 } }),
  (i: number) => ({ 'args.note': { startsWith: `secret${i}` } }),
];

/**
 * CPU time of one verdict with 1,000 rules, 20 of them conditional on the called tool (19 that could deny it and the one
 * that allows it); the rest name other tools. Beside it, printed while it runs: all 1,000 on the called tool.
 */
export const run: Proof = async ({ size, progress }) => {
  const usual = policyWith(CONDITIONAL);
  const crowded = policyWith(RULES);
  const measure = (policy: CompiledPolicy, calls: number): number => {
    const before = process.cpuUsage();
    for (let i = 0; i < calls; i += 1) {
      if (policy.evaluate(FACTS).kind !== 'allow') throw new Error('the benchmark policy refuses its call');
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / calls;
  };
  const few = Math.ceil(CALLS[size] / 100);
  measure(usual, CALLS[size]); // compiled rules and compiled code
  measure(crowded, few);
  const rounds = Array.from({ length: ROUNDS[size] }, () => ({
    usual: measure(usual, CALLS[size]),
    crowded: measure(crowded, few),
  }));
  const sorted = rounds.map((round) => round.usual).toSorted((a, b) => a - b);
  const all = rounds.map((round) => round.crowded).toSorted((a, b) => a - b);
  const [figure, withAll] = [middle(sorted), middle(all)];
  progress(
    `all ${RULES} rules on the called tool: ${withAll.toFixed(0)} us (${all[0]?.toFixed(0)}..${all.at(-1)?.toFixed(0)})`,
  );
  return {
    pass: figure < GOAL_US,
    figure: round(figure),
    goal: `< ${GOAL_US}`,
    unit: 'us of CPU',
    n: rounds.length,
    min: round(sorted[0] ?? Number.NaN),
    max: round(sorted.at(-1) ?? Number.NaN),
  };
};

function policyWith(onTheTool: number): CompiledPolicy {
  const rules = Array.from({ length: RULES }, (_, i) => ({
    id: `r${i}`,
    effect: i % onTheTool === 0 ? 'allow' : 'deny',
    tools: [i < onTheTool ? 'bank.pay' : `other.tool${i}`],
    when: i % onTheTool === 0 ? { 'args.amount': { lte: 100 } } : CONDITIONS[i % CONDITIONS.length]?.(i),
  }));
  const parsed = parsePolicy({ rules });
  if (parsed.kind === 'invalid') throw new Error(JSON.stringify(parsed.problems));
  return compilePolicy(parsed.document);
}

const middle = (sorted: readonly number[]): number => sorted[sorted.length >> 1] ?? Number.NaN;
const round = (value: number): number => Math.round(value * 100) / 100;
