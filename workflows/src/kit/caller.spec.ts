import { describe, expect, it } from 'vitest';
import { buildApprovalId, buildGrantId, tenantId, toolId } from '@bulkhead/contract';
import type { CallAnswer, CallKey, CallRequest, GrantAnswer, Json } from '@bulkhead/contract';
import { createCaller } from './caller.js';

const ULID = '01kb3v6r2e8m4q7x9z0a1b2c3d';
const READ = toolId('helpdesk.ticket.read');
const UPDATE = toolId('helpdesk.ticket.update');
const key = 'k' as CallKey;
const OK: CallAnswer = { kind: 'ok', value: { fine: true }, key };
const STALE: CallAnswer = { kind: 'grant_stale', reason: { message: 'rotated' }, key };
const APPROVAL: CallAnswer = {
  kind: 'approval_required',
  approvalId: buildApprovalId(tenantId('acme'), ULID),
  expiresAt: '2026-12-01T00:00:00.000Z',
  reason: { message: 'ask' },
  key,
};
const PARKED: CallAnswer = { kind: 'parked', state: 'paused', reason: { message: 'paused' }, key };
const GRANT: GrantAnswer = {
  kind: 'grant',
  grantId: buildGrantId(tenantId('acme'), ULID),
  system: 'helpdesk',
  access: 'read',
};

/** Plain functions instead of activities: scripted answers, running out is a failure. */
function scripted(
  answers: readonly CallAnswer[],
  grants: readonly GrantAnswer[] = [GRANT, GRANT, GRANT],
  segment = 0,
) {
  const asked: string[] = [];
  const requests: CallRequest[] = [];
  const answersLeft = [...answers];
  const grantsLeft = [...grants];
  const take = <T>(from: T[]): T => {
    const next = from.shift();
    if (next === undefined) throw new Error('the script has run out');
    return next;
  };
  const call = createCaller(segment, {
    broker: async (id) => {
      asked.push(`broker ${id}`);
      return take(grantsLeft);
    },
    gateway: async (request) => {
      asked.push('gateway');
      requests.push(request);
      return take(answersLeft);
    },
    approval: async (id) => void asked.push(`approval ${id}`),
    resumes: () => 0,
    resume: async (state) => void asked.push(`resume ${state}`),
  });
  return { call, asked, requests, answersLeft };
}

describe('identity of a call', () => {
  it('equal calls are numbered in the author’s order, whatever the order of their keys', async () => {
    const { call, requests } = scripted([OK, OK, OK, OK]);
    await Promise.all([
      call(READ, { a: 1, b: 2 }),
      call(READ, { b: 2, a: 1 }),
      call(READ, { a: 1, b: 3 }),
      call(UPDATE, { a: 1, b: 2 }),
    ]);
    expect(requests.map(({ toolId, args, n }) => [toolId, (args as { b: Json }).b, n])).toEqual([
      [READ, 2, 0],
      [READ, 2, 1],
      [READ, 3, 0],
      [UPDATE, 2, 0],
    ]);
  });

  it('is kept through a stale grant, an approval and a park: nothing is done twice', async () => {
    const { call, requests } = scripted([STALE, APPROVAL, PARKED, OK], undefined, 4);
    await call(READ, { a: 1 });
    expect(requests).toHaveLength(4);
    for (const request of requests)
      expect(request).toMatchObject({ toolId: READ, args: { a: 1 }, segment: 4, n: 0 });
  });
});

describe('text that is none', () => {
  it('attack: half a character in the arguments is the gateway’s to refuse; an error here would brick the run', async () => {
    const { call, requests } = scripted([OK, OK]);
    await call(READ, { a: '\ud83d' });
    await call(READ, { a: '\ud83d' });
    expect(requests.map(({ n }) => n)).toEqual([0, 1]);
  });
});

describe('grants', () => {
  it('are asked for once per tool, by parallel calls too', async () => {
    const { call, asked } = scripted([OK, OK, OK], [GRANT, { kind: 'none' }]);
    await Promise.all([call(READ, 1), call(READ, 2), call(UPDATE, 1)]);
    expect(asked.filter((line) => line.startsWith('broker'))).toEqual([`broker ${READ}`, `broker ${UPDATE}`]);
  });

  it('that are stale are asked for once more; a second time is denied', async () => {
    const { call, asked } = scripted([STALE, STALE]);
    expect(await call(READ, {})).toEqual({ kind: 'denied', reason: { message: 'rotated' } });
    expect(asked).toEqual([`broker ${READ}`, 'gateway', `broker ${READ}`, 'gateway']);
  });

  it('may be renewed again after a long wait for a person', async () => {
    const { call, answersLeft } = scripted([STALE, APPROVAL, STALE, OK]);
    expect(await call(READ, {})).toEqual(OK);
    expect(answersLeft).toEqual([]);
  });

  it('refused is the outcome, the gateway is never asked, and the refusal is not remembered', async () => {
    const refusal: GrantAnswer = { kind: 'denied', reason: { message: 'no', rule: 'r' } };
    const { call, asked } = scripted([OK], [refusal, GRANT]);
    expect(await call(READ, {})).toEqual(refusal);
    expect(await call(READ, {})).toEqual(OK);
    expect(asked).toEqual([`broker ${READ}`, `broker ${READ}`, 'gateway']);
  });

  it('a broker that fails is asked again at the next call', async () => {
    let failing = true;
    const call = createCaller(0, {
      broker: async () => {
        if (failing) throw new Error('away');
        return GRANT;
      },
      gateway: async () => OK,
      approval: async () => undefined,
      resumes: () => 0,
      resume: async () => undefined,
    });
    await expect(call(READ, {})).rejects.toThrow('away');
    failing = false;
    expect(await call(READ, {})).toEqual(OK);
  });
});

describe('waits', () => {
  it('an approval is waited for, then presented', async () => {
    const { call, asked, requests } = scripted([APPROVAL, OK]);
    expect(await call(UPDATE, {})).toEqual(OK);
    expect(asked).toEqual([`broker ${UPDATE}`, 'gateway', `approval acme.approval.${ULID}`, 'gateway']);
    expect(requests.map((request) => request.approvalId)).toEqual([undefined, `acme.approval.${ULID}`]);
  });

  it('a pause never reaches the author', async () => {
    const { call, asked } = scripted([PARKED, PARKED, OK]);
    expect(await call(UPDATE, {})).toEqual(OK);
    expect(asked.filter((line) => line.startsWith('resume'))).toHaveLength(2);
  });

  it('attack: a resume that comes between the question and the answer "parked" is not slept through', async () => {
    let resumes = 0;
    const answers: CallAnswer[] = [PARKED, OK];
    const waited: boolean[] = [];
    const call = createCaller(0, {
      broker: async () => GRANT,
      gateway: async () => {
        resumes += 1;
        return answers.shift() ?? OK;
      },
      approval: async () => undefined,
      resumes: () => resumes,
      resume: async (_state, _toolId, seen) => void waited.push(resumes === seen),
    });
    expect(await call(UPDATE, {})).toEqual(OK);
    expect(waited).toEqual([false]);
  });

  it('an outcome is handed over as it is', async () => {
    const spent: CallAnswer = { kind: 'budget_exceeded', reason: { message: 'spent', limit: 1, used: 1 } };
    const { call } = scripted([spent]);
    expect(await call(READ, {})).toEqual(spent);
  });
});
