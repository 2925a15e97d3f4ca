import { beforeEach, describe, expect, it } from 'vitest';
import { agentId, buildRunId, BulkheadError, tenantId, toolId, workspaceId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createPolicy } from './line.js';
import type { CallFacts, Policy } from './line.js';

const ACME = tenantId('acme');
const FACTS: CallFacts = {
  tool: toolId('desk.read'),
  system: 'desk',
  effect: 'read',
  dataClasses: [],
  destination: { host: 'desk.example', path: '/' },
  args: {},
  agent: agentId('a'),
  workspace: workspaceId('main'),
  actor: 'key:x',
  runId: buildRunId(ACME, '01jd0000000000000000000000'),
};
const ALLOW = { rules: [{ id: 'all', effect: 'allow', tools: ['*'] }] };

describe('the policy in force', () => {
  let head: number | undefined;
  let documents: Record<number, unknown>;
  let away: boolean;
  let slow: boolean;
  let asked: unknown[];
  let reads: number;
  let clockMs: number;
  let policy: Policy;

  beforeEach(() => {
    [head, documents, away, reads, clockMs] = [1, { 1: ALLOW }, false, 0, 0];
    [slow, asked] = [false, []];
    const read = async (_: unknown, [, , known]: readonly unknown[]): Promise<unknown[]> => {
      reads += 1;
      if (slow) return new Promise(() => undefined);
      if (away) throw new BulkheadError('DATABASE_UNAVAILABLE');
      if (head === undefined) return [];
      return [{ version: head, document: known === head ? null : (documents[head] ?? null) }];
    };
    const call = async (name: string, argument: unknown): Promise<unknown> => {
      asked.push([name, argument]);
      return { read: ['personal'], done: [] };
    };
    const door = { tenant: () => ({ read, call }) } as unknown as Pick<TenantDoor, 'tenant'>;
    policy = createPolicy({
      door,
      nowMs: () => clockMs,
      now: () => new Date('2026-11-24T23:59:59Z'),
      deadlineMs: 50,
    });
  });
  const decide = (fresh = false) => policy.authorise(ACME, 'default', FACTS, { fresh });

  it('decides with its version and rule, and is read once a second', async () => {
    expect(await decide()).toEqual({
      kind: 'allow',
      keepsArguments: true,
      rule: 'all',
      profile: 'default',
      policyVersion: 1,
      facts: {
        ...FACTS,
        time: { hour: 23, minute: 1439, weekday: 'tuesday', date: '2026-11-24' },
        run: { read: [], done: [] },
      },
    });
    clockMs = 999;
    await decide();
    expect(reads).toBe(1);
    clockMs = 1_000;
    await decide();
    expect(reads).toBe(2);
  });

  it('is read again at once when admit says that it moved', async () => {
    await decide();
    [head, documents] = [2, { 2: { rules: [] } }];
    expect((await decide()).kind).toBe('allow');
    expect(await decide(true)).toMatchObject({ kind: 'deny', policyVersion: 2, rule: 'default-deny' });
  });

  it.each([
    ['missing', undefined, {}, 'no-policy'],
    ['not a document', 3, { 3: { rules: 'all' } }, 'policy-unreadable'],
    ['lost', 3, {}, 'policy-unreadable'],
    [
      'of a newer platform, with rules that this one cannot read',
      3,
      { 3: { rules: [{ ...ALLOW.rules[0], unless: {} }] } },
      'policy-unreadable',
    ],
  ])('denies everything when it is %s', async (_, version, stored, rule) => {
    [head, documents] = [version, stored];
    expect(await decide()).toMatchObject({ kind: 'deny', rule });
  });

  it('is read once for any number of calls that need it at the same moment', async () => {
    await Promise.all(Array.from({ length: 50 }, () => decide()));
    expect(reads).toBe(1);
  });

  it('slower than its deadline is a fault, and the next call is not held up by it', async () => {
    slow = true;
    await expect(decide()).rejects.toMatchObject({ code: 'POLICY_UNAVAILABLE' });
    slow = false;
    expect(await decide()).toMatchObject({ kind: 'allow' });
  });

  it("reads the run's past only when a rule of this tool asks about it", async () => {
    await decide();
    expect(asked).toEqual([]);
    const tainted = {
      id: 'tainted',
      effect: 'deny',
      tools: ['desk.*'],
      when: { 'run.read.personal': { eq: true }, 'run.done.desk.check': { eq: false } },
    };
    [head, documents] = [2, { 2: { rules: [...ALLOW.rules, tainted] } }];
    expect(await decide(true)).toMatchObject({ kind: 'deny', rule: 'tainted' });
    expect(asked).toEqual([['run_facts', { runId: FACTS.runId, tools: ['desk.check'] }]]);
  });

  it('unreachable is a fault that is worth another try, never an old allowance', async () => {
    await decide();
    away = true;
    await expect(decide(true)).rejects.toMatchObject({ code: 'POLICY_UNAVAILABLE' });
    clockMs = 5_000;
    await expect(decide()).rejects.toMatchObject({ code: 'POLICY_UNAVAILABLE' });
  });
});
