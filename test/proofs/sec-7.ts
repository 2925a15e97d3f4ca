import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApplicationFailure } from '@temporalio/common';
import type { Payload } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import { pino } from 'pino';
import { vi } from 'vitest';
import { buildApprovalId, ENVELOPE_HEADER, SEARCH_ATTRIBUTES, SIGNALS } from '@bulkhead/contract';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import type { GovernedActivities } from '@bulkhead/runtime/worker';
import { workflowBundlePath } from '@bulkhead/workflows/bundle';
import { encodingOf, failuresIn, payloadsIn } from '../support/history-payloads.js';
import { scriptedLine } from '../support/scripted-line.js';
import type { ScriptedAnswer } from '../support/scripted-line.js';
import { scan } from '../support/secret-scan.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';
import { secondsOf } from './proof.js';
import type { Proof } from './proof.js';

/** A way for content to come into a history; resolves when the history holds it. */
type Surface = (
  world: TenantWorld,
  canary: string,
  fail: FailingLine,
) => Promise<{ readonly workflowId: string }>;

/** What the line under the Worker does next. */
interface FailingLine {
  brokerFails: boolean;
}

const ends = (handle: { readonly workflowId: string; result(): Promise<unknown> }) =>
  handle.result().then(
    () => handle,
    () => handle,
  );

const SURFACES: Record<string, Surface> = {
  'input, arguments, answers and result of a run that succeeds': async (world, canary) =>
    ends(await world.start('supportTriage', { ticketId: canary })),
  'what a segment carries into the next': async (world, canary) =>
    ends(await world.start('longChain', { ticketId: `denied ${canary}`, segments: 2 })),
  'message, stack, details and cause of a failure of an activity': async (world, canary) =>
    ends(await world.start('longChain', { ticketId: `activity ${canary}`, segments: 1 })),
  'the same of a failure of a local activity': async (world, canary, line) => {
    line.brokerFails = true;
    const handle = await ends(await world.start('longChain', { ticketId: canary, segments: 1 }));
    line.brokerFails = false;
    return handle;
  },
  'the same of a failure that a workflow throws': async (world, canary) =>
    ends(await world.start('longChain', { ticketId: `fail ${canary}`, segments: 1 })),
  'a bug in workflow code, which fails its task': async (world, canary) => {
    const handle = await world.start('longChain', { ticketId: `bug ${canary}`, segments: 1 });
    await vi.waitFor(async () => {
      const { events } = await handle.fetchHistory();
      if (!events?.some((event) => event.workflowTaskFailedEventAttributes))
        throw new Error('no failed task yet');
    }, 10_000);
    await handle.terminate();
    return handle;
  },
  'a signal, a question and a cancellation of a run that waits': async (world, canary) => {
    const handle = await world.start('longChain', { ticketId: `wait ${canary}`, segments: 1 });
    await vi.waitFor(async () => {
      if (((await handle.query('waitingFor')) as unknown[]).length === 0)
        throw new Error('does not wait yet');
    }, 10_000);
    await handle.signal(SIGNALS.approvalDecided, { approvalId: canary, note: canary });
    await handle.cancel();
    return ends(handle);
  },
};

/**
 * Content of every kind in runs that succeed, fail, wait and break, on the real server with the real Worker, as a
 * tenant's host runs it. In the raw histories, as bytes and as JSON, each payload is sealed but the envelope and the two
 * search attributes, each failure is encoded, and the content is in no form; opened with the tenant's key it is there.
 */
export const run: Proof = async ({ size, progress }) => {
  installRuntime(pino({ level: 'fatal' }), 'warn');
  const folder = await mkdtemp(join(tmpdir(), 'sec-7-'));
  const canaryOf = (): string => `canary-${randomBytes(9).toString('hex')}`;
  let current = '';
  const line: FailingLine = { brokerFails: false };
  const world = await openTenantWorld(
    leakyLine(() => current, line),
    { bundlePath: await breakableBundle(folder) },
  );
  const faults: string[] = [];
  let [payloads, failures] = [0, 0];
  const until = performance.now() + secondsOf(size) * 1_000;
  try {
    do {
      for (const [name, surface] of Object.entries(SURFACES)) {
        current = canaryOf();
        const { workflowId } = await surface(world, current, line);
        for (const history of await historiesOf(world, workflowId)) {
          const found = await judge(world, history, current);
          payloads += found.payloads;
          failures += found.failures;
          faults.push(...found.faults.map((fault) => `${name}: ${fault}`));
        }
      }
      progress(`${payloads} payloads, ${failures} failures`);
    } while (performance.now() < until);
    const n = payloads + failures;
    const encoded = Math.round(((n - faults.length) / n) * 1_000) / 10;
    return {
      pass: faults.length === 0 && failures > 0,
      figure: encoded,
      goal: '100, plaintext 0',
      unit: '% of payloads and failures encoded',
      n,
      faults: faults.slice(0, 10),
    };
  } finally {
    await world.close();
    await closeFleetThreads();
    await rm(folder, { recursive: true });
  }
};

type History = temporal.api.history.v1.IHistory;

/** Each segment of the run. */
async function historiesOf(world: TenantWorld, workflowId: string): Promise<History[]> {
  const { workflow } = world.client();
  const histories: History[] = [];
  for await (const { runId } of workflow.list({ query: `WorkflowId = "${workflowId}"` }))
    histories.push(await workflow.getHandle(workflowId, runId).fetchHistory());
  // the list lags; the last one is asked for by its id alone
  if (histories.length === 0) histories.push(await workflow.getHandle(workflowId).fetchHistory());
  return histories;
}

async function judge(
  world: TenantWorld,
  history: History,
  canary: string,
): Promise<{ payloads: number; failures: number; faults: string[] }> {
  const faults: string[] = [];
  const all = payloadsIn(history).filter(({ place }) => !isClearOnPurpose(place));
  for (const { place, payload } of all)
    if (encodingOf(payload) !== 'binary/encrypted' && !isBookkeeping(place, payload))
      faults.push(`${place} is ${encodingOf(payload)}`);
  const failures = failuresIn(history);
  for (const { place, failure } of failures)
    if (failure.stackTrace || (failure.message !== 'Encoded failure' && !isServers(failure)))
      faults.push(`${place} says ${failure.message}`);
  const bytes = Buffer.from(temporal.api.history.v1.History.encode(history).finish());
  for (const stored of [bytes, JSON.stringify(history)])
    faults.push(...scan({ canary }, 'history', stored).map(({ form }) => `the content is there as ${form}`));
  const opened = await world.codec.decode(
    all.map(({ payload }) => payload).filter((payload) => encodingOf(payload) === 'binary/encrypted'),
  );
  const text = opened.map(({ data }) => Buffer.from(data ?? []).toString()).join('\n');
  if (!text.includes(canary)) faults.push('opened, the content is not there: nothing was shown');
  return { payloads: all.length, failures: failures.length, faults };
}

/** The signed envelope and the search attributes, by their names. */
const isClearOnPurpose = (place: string): boolean =>
  place.endsWith(`.header.fields.${ENVELOPE_HEADER}`) ||
  Object.values(SEARCH_ATTRIBUTES).some((name) => place.endsWith(`.searchAttributes.indexedFields.${name}`));

/** Core notes number, names and times of a local activity, below the codec; its result stands beside it, sealed. */
const NOTED = /^(seq|attempt|activity_id|activity_type|complete_time|backoff|original_schedule_time)$/;
const isBookkeeping = (place: string, { data }: Payload): boolean =>
  place.includes('.markerRecordedEventAttributes.details.data.') &&
  Object.keys(JSON.parse(Buffer.from(data ?? []).toString()) as object).every((name) => NOTED.test(name));

/** The server's own sentences (a timeout, a cancellation, the wrapper that names the activity) quote nobody. */
const isServers = ({ source, message }: temporal.api.failure.v1.IFailure): boolean =>
  source === 'Server' || ['', 'activity error', 'Activity task failed'].includes(message ?? '');

/** Answers and failures that quote what they were asked. */
function leakyLine(canary: () => string, next: FailingLine): GovernedActivities {
  const failure = (): ApplicationFailure =>
    ApplicationFailure.create({
      message: `cannot do ${canary()}`,
      type: 'INTERNAL',
      nonRetryable: true,
      details: [{ canary: canary() }],
      cause: new Error(`because of ${canary()}`),
    });
  const line = scriptedLine((request): ScriptedAnswer | undefined => {
    const args = JSON.stringify(request.args);
    if (args.includes('activity canary-')) throw failure();
    if (args.includes('denied canary-')) return { kind: 'denied', reason: { message: canary() } };
    if (!args.includes('wait canary-')) return undefined;
    const approvalId = buildApprovalId('t-1' as never, '01kb3v6r2e8m4q7x9z0a1b2c3d');
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    return { kind: 'approval_required', approvalId, expiresAt, reason: { message: canary() } };
  });
  const { secretBroker } = line.activities;
  return {
    ...line.activities,
    secretBroker: async (...given) => {
      if (next.brokerFails) throw failure();
      return secretBroker(...given);
    },
  };
}

/** The production bundle with two faults in one workflow: it throws what it was given, and it has a bug. */
async function breakableBundle(folder: string): Promise<string> {
  const code = await readFile(workflowBundlePath(), 'utf8');
  const at = code.indexOf('const told = {');
  const sdk = /\(0,(\w+)\.setHandler\)/.exec(code.slice(at))?.[1];
  if (at === -1 || sdk === undefined) throw new Error('longChain has changed: give this proof another place');
  const faults = `
    if (ticketId.startsWith('fail ')) throw ${sdk}.ApplicationFailure.create({
      message: ticketId, nonRetryable: true, details: [ticketId], cause: new Error('because of ' + ticketId) });
    if (ticketId.startsWith('bug ')) throw new TypeError(ticketId);
    `;
  const file = join(folder, 'bundle.js');
  await writeFile(file, code.slice(0, at) + faults + code.slice(at));
  return file;
}
