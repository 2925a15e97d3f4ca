import { setTimeout as sleep } from 'node:timers/promises';
import { BulkheadError } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { ALLOW_ALL, openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

/** How long the store stays broken; longer than the bound, or the bound would not be seen. */
const BROKEN_MS: Record<ProofSize, number> = { tiny: 6_500, ci: 7_000, full: 60_000 };
const CALLS_PER_SECOND = 50;
/** No effect may be judged by a policy that was read longer ago. */
const STALE_MS = 5_000;
const RESUMED_WITHIN_MS = 10_000;

type Fault = 'none' | 'away' | 'slow';
const faultsOf = (size: ProofSize): readonly Fault[] => (size === 'tiny' ? ['away'] : ['away', 'slow']);

/**
 * The policy store breaks under 50 calls a second: it is unreachable, or answers too late. No effect is judged by what was
 * read more than 5 s ago, and calls go on by themselves once it is back. Then every way in which what it answers can be
 * damaged: a host that has nothing remembered allows nothing.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  const faults: string[] = [];
  let calls = 0;
  try {
    await line.publish('acme', [ALLOW_ALL]);
    const store = breakableStore(line.door);
    const host = await line.newHost({ policyDoor: store.door, policyDeadlineMs: 500 });
    for (const fault of faultsOf(size)) {
      calls += await outage(line, host, (as) => store.break(as), fault, size, faults);
      progress(`${fault}: ${calls} calls so far`);
    }
    const damaged = await damages(line, faults);
    progress(`${damaged} damaged answers`);
    return zeroOf('effects on a stale, missing or damaged policy, or no recovery', calls + damaged, faults);
  } finally {
    await line.close();
  }
};

function breakableStore(door: TenantDoor): { door: Pick<TenantDoor, 'tenant'>; break(as: Fault): void } {
  let fault: Fault = 'none';
  const broken = (): Promise<never> =>
    fault === 'away'
      ? Promise.reject(new BulkheadError('DATABASE_UNAVAILABLE'))
      : new Promise(() => undefined);
  return {
    break: (as) => {
      fault = as;
    },
    door: {
      tenant: (id: TenantId) => {
        const db = door.tenant(id);
        return {
          ...db,
          run: (work) => (fault === 'none' ? db.run(work) : broken()),
          read: (statement, values) => (fault === 'none' ? db.read(statement, values) : broken()),
          call: (...given) => (fault === 'none' ? db.call(...given) : broken()),
        };
      },
    },
  };
}

async function outage(
  line: LineUnderTest,
  host: Host,
  breakStore: (as: Fault) => void,
  fault: Fault,
  size: ProofSize,
  faults: string[],
): Promise<number> {
  const envelope = await line.newRun('acme');
  let sent = 0;
  const call = async (): Promise<boolean> => {
    sent += 1;
    const answer = await host
      .call(envelope, 'desk.read', { id: `${fault}-${sent}` })
      .catch((error: unknown) => ({ kind: error instanceof BulkheadError ? error.code : 'thrown' }));
    if (!['ok', 'POLICY_UNAVAILABLE'].includes(answer.kind)) faults.push(`${fault}: answered ${answer.kind}`);
    return answer.kind === 'ok';
  };
  if (!(await call())) faults.push(`${fault}: not even a healthy call passes`);
  breakStore(fault);
  const began = performance.now();
  const pending: Promise<boolean>[] = [];
  while (performance.now() - began < BROKEN_MS[size]) {
    const late = performance.now() - began > STALE_MS;
    const before = line.tool.requests.length;
    pending.push(call());
    await sleep(1_000 / CALLS_PER_SECOND);
    // whatever was admitted early has been sent by now
    if (late && line.tool.requests.length > before) faults.push(`${fault}: an effect on a stale policy`);
  }
  await Promise.all(pending);
  breakStore('none');
  const restored = performance.now();
  while (!(await call())) {
    if (performance.now() - restored > RESUMED_WITHIN_MS) {
      faults.push(`${fault}: calls do not go on`);
      break;
    }
    await sleep(50);
  }
  return sent;
}

/** What a row could hold after somebody edited it, or a newer platform wrote it; each seen by a host that knows nothing. */
const DAMAGED: readonly unknown[] = [
  null,
  [],
  {},
  'allow',
  true,
  { rules: null },
  { rules: {} },
  { rules: [null] },
  { rules: [{ ...(ALLOW_ALL as object), unless: {} }] },
  { rules: [{ ...(ALLOW_ALL as object), effect: 'permit' }] },
  { rules: [{ ...(ALLOW_ALL as object), when: { tool: { matches: '.*' } } }] },
  { rules: [ALLOW_ALL, ALLOW_ALL] },
  { rules: [ALLOW_ALL], mode: 'off' },
  { rules: [ALLOW_ALL], version: 2 },
];

async function damages(line: LineUnderTest, faults: string[]): Promise<number> {
  const envelope = await line.newRun('acme');
  const before = line.tool.requests.length;
  const denied = async (what: string, rule: string): Promise<void> => {
    const answer = await (await line.newHost()).call(envelope, 'desk.read', { id: 'x' });
    const why = answer.kind === 'denied' ? answer.reason.rule : answer.kind;
    if (why !== rule) faults.push(`${what}: ${why}`);
  };
  for (const document of DAMAGED) {
    await line.database.asOwner("UPDATE policies SET document = $1::jsonb WHERE tenant_id = 'acme'", [
      JSON.stringify(document),
    ]);
    await denied(JSON.stringify(document), 'policy-unreadable');
  }
  await line.database.asOwner("DELETE FROM policies WHERE tenant_id = 'acme'");
  await denied('no version', 'policy-unreadable');
  await line.database.asOwner("DELETE FROM policy_heads WHERE tenant_id = 'acme'");
  await denied('no policy', 'no-policy');
  if (line.tool.requests.length > before) faults.push('an effect on a damaged policy');
  return DAMAGED.length + 2;
}
