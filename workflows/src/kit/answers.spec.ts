import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { argsWithoutText, buildRunId, callText, tenantId, toolId } from '@bulkhead/contract';
import type { CallRequest, Json } from '@bulkhead/contract';
import { answers, isGrantAnswer, isToolList } from './answers.js';

const ACME = tenantId('acme');
const RUN = buildRunId(ACME, '01kb3v6r2e8m4q7x9z0a1b2c3d');
const CALL: CallRequest = { toolId: toolId('a.b'), args: { x: 1 }, segment: 2, n: 3 };
const REASON = { message: 'no' };

/** As the gateway makes it, from what it reads off the wire. */
function keyOf(request: CallRequest, workflowId: string = RUN): string {
  const { toolId: tool, args, segment, n } = JSON.parse(JSON.stringify(request)) as CallRequest;
  const call = { tenantId: ACME, workflowId, segment, toolId: tool, args, n };
  let text: string;
  try {
    text = callText(call);
  } catch {
    text = callText({ ...call, args: argsWithoutText(args) });
  }
  return createHash('sha256').update(text, 'utf8').digest('hex');
}

describe('an outcome', () => {
  it.each<[string, Json]>([
    ['keys in any order', { b: 1, a: [1.5, null, true] }],
    ['what JSON leaves out', { a: undefined, b: 'x' }],
    ['half a character', { a: '\ud83d' }],
    ['what JSON cannot carry', { a: Number.NaN }],
    ['text of all kinds', { a: 'é😀\u2028"\\' }],
  ])('answers the call with the key that the gateway gives it: %s', (_, args) => {
    const request = { ...CALL, args };
    expect(answers(request, RUN, { kind: 'ok', value: null, key: keyOf(request) })).toBe(true);
    expect(answers(request, RUN, { kind: 'denied', reason: REASON, key: keyOf(request) })).toBe(true);
  });

  it('attack: of another call, segment, count or run, without a key, or of a kind that is none', () => {
    const others = [
      { ...CALL, args: {} },
      { ...CALL, segment: 1 },
      { ...CALL, n: 0 },
    ];
    for (const key of [...others.map((other) => keyOf(other)), keyOf(CALL, `${RUN}x`), undefined, ''])
      expect(answers(CALL, RUN, { kind: 'ok', value: 1, key })).toBe(false);
    const key = keyOf(CALL);
    for (const answer of [
      { kind: 'fine', key },
      { kind: 'ok', key },
      { kind: 'denied', key },
      { key },
      [],
      null,
      'ok',
      7,
    ])
      expect(answers(CALL, RUN, answer)).toBe(false);
  });
});

it('what the kit deals with itself has all that it needs', () => {
  const wait = {
    kind: 'approval_required',
    approvalId: 'a',
    expiresAt: '2026-12-01T00:00:00.000Z',
    reason: REASON,
  };
  const fits = (answer: object, key: string | undefined = keyOf(CALL)): boolean =>
    answers(CALL, RUN, { ...answer, key });
  const parked = { kind: 'parked', state: 'paused', reason: REASON };
  const stale = { kind: 'grant_stale', reason: REASON };
  for (const answer of [wait, parked, stale]) {
    expect(fits(answer)).toBe(true);
    expect(fits({ ...answer, reason: undefined })).toBe(false);
    // attack: copied from another call of the run, or from before answers named theirs
    expect(fits(answer, keyOf({ ...CALL, n: 4 }))).toBe(false);
    expect(answers(CALL, RUN, answer)).toBe(false);
  }
  for (const change of [{ expiresAt: 'soon' }, { approvalId: 1 }])
    expect(fits({ ...wait, ...change })).toBe(false);
  expect(fits({ ...parked, state: undefined })).toBe(false);
  for (const grant of [{ kind: 'none' }, { kind: 'grant', grantId: 'g' }, { kind: 'denied', reason: REASON }])
    expect(isGrantAnswer(grant)).toBe(true);
  for (const grant of [{ kind: 'grant' }, { kind: 'denied' }, { kind: 'ok' }, null])
    expect(isGrantAnswer(grant)).toBe(false);
});

describe('a list of tools', () => {
  const list = { kind: 'tools', tools: [], of: { runId: RUN, system: 'desk' } };
  const fits = (answer: unknown, which: Parameters<typeof isToolList>[0] = { system: 'desk' }): boolean =>
    isToolList(which, RUN, answer);

  it('is the one that this run asked for, or a wait', () => {
    expect(fits(list)).toBe(true);
    expect(fits({ ...list, next: 'desk.z' })).toBe(true);
    expect(fits({ kind: 'parked', state: 'paused', reason: REASON })).toBe(true);
  });

  it.each<[string, unknown]>([
    ["another run's", { ...list, of: { ...list.of, runId: buildRunId(ACME, '01kb3v6r2e8m4q7x9z0a1b2c3e') } }],
    ['of another system', { ...list, of: { runId: RUN, system: 'open' } }],
    ['of all systems', { ...list, of: { runId: RUN } }],
    ['of another page', { ...list, of: { ...list.of, after: 'desk.a' } }],
    ['without its question', { kind: 'tools', tools: [] }],
    ['without tools', { kind: 'tools', of: list.of }],
    ['the outcome of a call', { kind: 'ok', value: 1, key: keyOf(CALL) }],
    ['a wait without a reason', { kind: 'parked', state: 'paused' }],
    ['nothing', undefined],
    ['a text', 'tools'],
  ])('attack: %s is none', (_, answer) => expect(fits(answer)).toBe(false));
});
