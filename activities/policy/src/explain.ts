import { z } from 'zod';
import type { Json } from '@bulkhead/contract';
import { compilePolicy, NOTHING_YET, parsePolicy, timeFacts } from '@bulkhead/contract/policy';
import type {
  CallFacts,
  PolicyFacts,
  PolicySettings,
  PolicyVerdict,
  RuleOpinion,
  RunFacts,
} from '@bulkhead/contract/policy';
import type { TenantDb } from '@bulkhead/prisma/tenant';

export interface Hypothetical {
  readonly facts: CallFacts;
  readonly document: Json;
  readonly at: Date;
  /** What the run is to have read and done; undefined: what the run of `facts` really has. */
  readonly past: RunFacts | undefined;
}

export interface Explanation {
  readonly outcome: 'allowed' | 'denied' | 'approval_required';
  readonly verdict: PolicyVerdict;
  readonly mode: string;
  /** undefined: the document cannot be read. */
  readonly settings: PolicySettings | undefined;
  /** Every rule that names the tool, by id. */
  readonly rules: readonly RuleOpinion[];
  readonly facts: PolicyFacts;
}

/** What the document would decide, with the evaluator that decides real calls. Nothing is counted, asked or written. */
export async function explainCall(db: TenantDb, call: Hypothetical): Promise<Explanation> {
  const parsed = parsePolicy(call.document);
  const time = timeFacts(call.at);
  if (parsed.kind === 'invalid') {
    const message = 'The policy cannot be read, so nothing is allowed.';
    const verdict = { kind: 'deny', rule: 'policy-unreadable', message } as const;
    const facts = { ...call.facts, time, run: call.past ?? NOTHING_YET };
    return { outcome: 'denied', verdict, mode: 'enforce', settings: undefined, rules: [], facts };
  }
  const policy = compilePolicy(parsed.document);
  const asks = policy.asksRun(call.facts.tool);
  const run = call.past ?? (asks ? await pastOf(db, call.facts.runId, asks.done) : NOTHING_YET);
  const facts = { ...call.facts, time, run };
  const verdict = policy.evaluate(facts);
  const outcome = verdict.kind === 'deny' ? 'denied' : verdict.approval ? 'approval_required' : 'allowed';
  const { mode, settings } = policy;
  return { outcome, verdict, mode, settings, rules: policy.opinions(facts), facts };
}

const Past = z.strictObject({ read: z.array(z.string()), done: z.array(z.string()) });

/** A run that is not there has read and done nothing. */
async function pastOf(db: TenantDb, runId: string, tools: readonly string[]): Promise<RunFacts> {
  return Past.parse(await db.call('run_facts', { runId, tools }));
}
