import { describe, expect, it } from 'vitest';
import { differences, tellRun } from './story.js';
import type { GraphqlClient } from './graphql.js';

const steps = [
  { tool: 'helpdesk.ticket.read', outcome: 'ok' },
  { tool: 'webhook.post', outcome: 'denied', rule: 'no-external-destinations' },
];
const run = { id: 'acme.run.1', state: 'completed', reason: null, result: { steps } };
const expected = {
  state: 'completed',
  approvals: 1,
  refused: [['webhook.post', 'no-external-destinations']],
  succeeded: ['helpdesk.ticket.read'],
} as const;

describe('whether a run ended as described', () => {
  it('has nothing to say when it did', () => {
    expect(differences({ run, approvals: 1 }, expected)).toEqual([]);
  });

  it.each([
    ['another state', { run: { ...run, state: 'failed' }, approvals: 1 }, /is failed, not completed/],
    ['a missing approval', { run, approvals: 0 }, /asked for 0 approvals, not 1/],
    [
      'a refusal by another rule',
      { run: { ...run, result: { steps: [steps[0]!, { ...steps[1]!, rule: 'default' }] } }, approvals: 1 },
      /was not refused webhook.post by rule no-external-destinations/,
    ],
    [
      'a forbidden call that went through',
      { run: { ...run, result: { steps: [steps[0]!, { ...steps[1]!, outcome: 'ok' }] } }, approvals: 1 },
      /was not refused webhook.post/,
    ],
    ['no result', { run: { ...run, result: null }, approvals: 1 }, /helpdesk.ticket.read/],
  ])('names %s', (_, told, sentence) => {
    expect(differences(told, expected).join('\n')).toMatch(sentence);
  });
});

/** A client that answers one state after the other. */
function scripted(states: readonly string[], asked: string[]): GraphqlClient {
  const left = [...states];
  const view = (): object => {
    const state = (left.length > 1 ? left.shift() : left[0]) ?? '';
    const reason = { message: 'Rule R asks.', rule: 'R', approvalId: 'acme.approval.1' };
    return { ...run, state, reason: state === 'approval_required' ? reason : null };
  };
  const pending = { id: 'acme.approval.1', toolId: 't', target: 'x', arguments: { a: 1 }, state: 'pending' };
  return {
    async request<T>(query: string): Promise<T> {
      asked.push(/\w+(?= ?[({])/.exec(query.replace(/^(query|mutation)\s*(\([^)]*\))?\s*{/, ''))?.[0] ?? '');
      return { startRun: view(), run: view(), approvals: { nodes: [pending] }, approve: {} } as T;
    },
  };
}

describe('telling a run', () => {
  const options = { tenant: 'acme', ticketId: 'T-1', timeoutMs: 5_000, idempotencyKey: 'k' };

  it('shows each state once, and exactly the arguments before it approves them', async () => {
    const said: string[] = [];
    const admin: string[] = [];
    const told = await tellRun({
      ...options,
      operator: scripted(['accepted', 'accepted', 'running', 'approval_required', 'completed'], []),
      admin: scripted(['x'], admin),
      say: (line) => said.push(line.replace(/\s+/g, ' ')),
    });
    expect(told).toMatchObject({ approvals: 1, run: { state: 'completed' } });
    expect(admin).toEqual(['approvals', 'approve']);
    expect(said.at(0)).toMatch(/^accepted acme.run.1, ticket T-1/);
    expect(said).toContain('approve t -> x {"a":1}');
    expect(said.filter((line) => line.startsWith('approval_required'))).toEqual([
      'approval_required Rule R asks.',
    ]);
    expect(said.at(-1)).toBe('completed');
  });

  it('gives up on a run that never ends, and says where it stands', async () => {
    const stuck = scripted(['running'], []);
    await expect(
      tellRun({ ...options, timeoutMs: 0, operator: stuck, admin: stuck, say: () => undefined }),
    ).rejects.toThrow(/acme.run.1 is still running/);
  });
});
