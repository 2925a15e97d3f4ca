import { setTimeout as sleep } from 'node:timers/promises';
import type { GraphqlClient } from './graphql.js';

/** One run of the demo, as a tenant sees it: started, watched, approved where a person is asked, and told. */

interface Reason {
  readonly message: string;
  readonly rule: string | null;
  readonly approvalId: string | null;
}
interface Step {
  readonly tool: string;
  readonly outcome: string;
  readonly rule?: string;
  readonly note?: string;
}
interface RunView {
  readonly id: string;
  readonly state: string;
  readonly reason: Reason | null;
  readonly result: { readonly steps?: readonly Step[]; readonly answer?: string } | null;
}

/** What a run must have shown for the demo to count as told. */
export interface Expectation {
  readonly state: 'completed';
  readonly approvals: number;
  /** Tool and the rule that refused it. */
  readonly refused: readonly (readonly [tool: string, rule: string])[];
  readonly succeeded: readonly string[];
}

export interface StoryOptions {
  readonly tenant: string;
  readonly ticketId: string;
  /** Starts runs. */
  readonly operator: GraphqlClient;
  /** Approves; never the key that started the run. */
  readonly admin: GraphqlClient;
  readonly say: (line: string) => void;
  readonly timeoutMs: number;
  readonly idempotencyKey: string;
}

const RUN = 'id state reason { message rule approvalId } result';
const ENDED = ['completed', 'failed', 'cancelled'];

/** Tells the run while it happens and returns how it ended. @throws Error when it does not end in `timeoutMs`. */
export async function tellRun(options: StoryOptions): Promise<{ run: RunView; approvals: number }> {
  const { operator, say } = options;
  const { startRun } = await operator.request<{ startRun: RunView }>(
    `mutation ($input: StartRunInput!) { startRun(input: $input) { ${RUN} } }`,
    {
      input: {
        agentId: 'support-triage',
        idempotencyKey: options.idempotencyKey,
        input: { ticketId: options.ticketId },
      },
    },
  );
  say(`${startRun.state.padEnd(18)} ${startRun.id}, ticket ${options.ticketId}`);
  let shown = startRun.state;
  let approvals = 0;
  const deadline = Date.now() + options.timeoutMs;
  for (;;) {
    // a person would watch the subscription; polling keeps the demo to one small client
    const { run } = await operator.request<{ run: RunView }>(`query ($id: ID!) { run(id: $id) { ${RUN} } }`, {
      id: startRun.id,
    });
    if (run.state !== shown) {
      say(`${run.state.padEnd(18)} ${run.reason?.message ?? ''}`.trimEnd());
      shown = run.state;
    }
    if (run.state === 'approval_required' && run.reason?.approvalId) {
      approvals += await approve(options, run.reason.approvalId);
    }
    if (ENDED.includes(run.state)) return { run, approvals };
    if (Date.now() > deadline)
      throw new Error(`${startRun.id} is still ${run.state} after ${options.timeoutMs / 1000} s`);
    await sleep(150);
  }
}

/** Shows the exact arguments to the approver and approves them; 0 when somebody was faster. */
async function approve(options: StoryOptions, id: string): Promise<number> {
  const { approvals } = await options.admin.request<{
    approvals: { nodes: { id: string; toolId: string; target: string; arguments: unknown; state: string }[] };
  }>('query { approvals(state: pending) { nodes { id toolId target arguments state } } }');
  const pending = approvals.nodes.find((approval) => approval.id === id);
  if (!pending) return 0;
  options.say(
    `${'approve'.padEnd(18)} ${pending.toolId} -> ${pending.target} ${JSON.stringify(pending.arguments)}`,
  );
  await options.admin.request(
    'mutation ($id: ID!) { approve(id: $id, reason: "looks right") { id state } }',
    { id },
  );
  return 1;
}

/** Prints what each call did and why it was refused. */
export function tellSteps(run: RunView, say: (line: string) => void): void {
  for (const step of run.result?.steps ?? []) {
    const why = step.rule ? `  rule ${step.rule}` : '';
    say(
      `  ${step.outcome.padEnd(16)} ${step.tool.padEnd(24)}${why}${step.note ? `  ${step.note}` : ''}`.trimEnd(),
    );
  }
}

/** What differs from the expectation, in sentences; empty when all is as the README says. */
export function differences(told: { run: RunView; approvals: number }, expected: Expectation): string[] {
  const { run, approvals } = told;
  const steps = run.result?.steps ?? [];
  const problems: string[] = [];
  if (run.state !== expected.state)
    problems.push(`${run.id} is ${run.state}, not ${expected.state}: ${run.reason?.message ?? 'no reason'}`);
  if (approvals !== expected.approvals)
    problems.push(`${run.id} asked for ${approvals} approvals, not ${expected.approvals}`);
  for (const [tool, rule] of expected.refused) {
    if (!steps.some((step) => step.tool === tool && step.outcome === 'denied' && step.rule === rule)) {
      problems.push(`${run.id} was not refused ${tool} by rule ${rule}`);
    }
  }
  for (const tool of expected.succeeded) {
    if (!steps.some((step) => step.tool === tool && step.outcome === 'ok'))
      problems.push(`${run.id} did not succeed with ${tool}`);
  }
  return problems;
}
