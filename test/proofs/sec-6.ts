import { setTimeout as sleep } from 'node:timers/promises';
import { toolId } from '@bulkhead/contract';
import type { Envelope } from '@bulkhead/contract';
import { rotateSecret } from '@bulkhead/secret-broker/admin';
import { createCaller } from '../../workflows/src/kit/caller.js';
import type { Call } from '../../workflows/src/kit/caller.js';
import { createCanaries } from '../support/canaries.js';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import type { Proof, ProofSize } from './proof.js';
import { grant } from '../support/quotas.js';

/** One in 200 calls: a call that meets two rotations, one before and one after it asked for a new grant, is denied. */
const SIZES: Record<ProofSize, { readonly rotations: number; readonly calls: number }> = {
  tiny: { rotations: 2, calls: 300 },
  ci: { rotations: 20, calls: 4_000 },
  full: { rotations: 50, calls: 10_000 },
};
const HOSTS = 2;
/** Runs at work at the same time, each with its own remembered grants. */
const RUNS = 8;
/** A version may still be used so long after its end, by what was admitted before. */
const GRACE_MS = 1_000;
const BY = { actor: 'proof', reason: 'a rotation' };

/** One value of the secret: what the receiver sees, and when the next one was in force. */
interface Version {
  readonly value: string;
  endedAt: number;
}

/**
 * A secret gets new values while runs use it without a pause, as the author's kit does: each run keeps its grant until
 * admit calls it stale and then asks the broker once more. No call fails for it, and the receiver, who notes when each
 * value came, sees none more than a second after the next one was stored.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  const { rotations, calls } = SIZES[size];
  const faults: string[] = [];
  const canaries = createCanaries();
  const arrivals: { readonly header: string; readonly at: number }[] = [];
  try {
    await grant(line.db('acme'), 'tool_calls_per_day', 10_000_000);
    const versions: Version[] = [];
    const rotate = async (): Promise<void> => {
      const value = canaries.make('acme', 'desk', `version ${versions.length}`);
      await rotateSecret(line.db('acme'), line.keyRing, { name: 'desk', value }, BY);
      const last = versions.at(-1);
      if (last) last.endedAt = performance.now();
      versions.push({ value, endedAt: Number.POSITIVE_INFINITY });
    };
    await rotate();
    line.tool.answer = ({ headers }) => {
      arrivals.push({ header: headers.authorization ?? '', at: performance.now() });
      return { done: true };
    };
    const work = { left: calls, done: 0 };
    const working = startRuns(line, work, faults);
    while (versions.length <= rotations) {
      // evenly over the calls: each value is used
      if (work.done >= (versions.length * calls) / (rotations + 1)) await rotate();
      else await sleep(2);
      if (faults.length > 0) break;
    }
    await working;
    progress(`${work.done} calls, ${versions.length - 1} rotations`);
    const used = judge(versions, arrivals, faults);
    if (used < versions.length / 2) faults.push(`only ${used} of ${versions.length} values were ever used`);
    return {
      pass: faults.length === 0 && work.done === calls,
      figure: faults.length,
      goal: '0',
      unit: `failed calls or late uses over ${versions.length - 1} rotations`,
      n: work.done,
      faults: faults.slice(0, 10),
    };
  } finally {
    await line.close();
  }
};

async function startRuns(
  line: LineUnderTest,
  work: { left: number; done: number },
  faults: string[],
): Promise<void> {
  const hosts = await Promise.all(Array.from({ length: HOSTS }, () => line.newHost()));
  await Promise.all(
    Array.from({ length: RUNS }, async (_, index) => {
      const call = callerOf(line, hosts[index % HOSTS]!, await line.newRun('acme'));
      for (let n = 0; work.left > 0 && faults.length === 0; n += 1) {
        work.left -= 1;
        const answer = await call(toolId('desk.update'), { id: `r${index}-${n}` });
        if (answer.kind !== 'ok') faults.push(`a call was answered ${answer.kind}`);
        work.done += 1;
        // no sealer runs here: a new run also seals what is old
        if (work.done % 500 === 0) await line.newRun('acme');
      }
    }),
  );
}

/** The kit as an author's run has it, over the gateway without Temporal. */
function callerOf(line: LineUnderTest, host: Host, envelope: Envelope): Call {
  const unexpected = (): Promise<never> => Promise.reject(new Error('nothing here waits'));
  return createCaller(0, {
    broker: (id) => line.broker.secretBroker(envelope, { toolId: id }),
    gateway: (request) =>
      host.gateway(envelope, request, {
        workflowId: envelope.runId,
        temporalRunId: 'one',
        attempt: 1,
        host: host.id,
        token: `${request.toolId} ${JSON.stringify(request.args)}`,
        signal: new AbortController().signal,
        onExpensiveQueue: false,
        heartbeat: () => undefined,
      }),
    approval: unexpected,
    resume: unexpected,
    resumes: () => 0,
  });
}

/** @returns how many values were used */
function judge(
  versions: readonly Version[],
  arrivals: readonly { readonly header: string; readonly at: number }[],
  faults: string[],
): number {
  const used = new Set<string>();
  for (const { header, at } of arrivals) {
    const version = versions.find(({ value }) => header === `Bearer ${value}`);
    if (!version) faults.push('the receiver saw a value that was never stored');
    else if (at - version.endedAt > GRACE_MS)
      faults.push(`a value was used ${Math.round(at - version.endedAt)} ms after its end`);
    used.add(header);
  }
  return used.size;
}
