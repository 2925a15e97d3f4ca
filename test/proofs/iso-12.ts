import { pino } from 'pino';
import { inject } from 'vitest';
import type { EnvelopeRefusal } from '@bulkhead/contract';
import { createRefusalJournal } from '@bulkhead/journal/line';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import { closeFleetThreads, installRuntime } from '@bulkhead/runtime/worker';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import {
  askedByOthers,
  CARRIERS,
  childOfWorkflowCode,
  CLOSED_CARRIERS,
  LATER_CARRIERS,
  parkingLine,
} from '../support/envelope-carriers.js';
import type { Attack, Carried, Carrier } from '../support/envelope-carriers.js';
import { forgeriesFor, remintedFor } from '../support/envelope-forgeries.js';
import { openTenantWorld } from '../support/tenant-world.js';
import type { TenantWorld } from '../support/tenant-world.js';
import { bundleWithUpdates } from '../support/test-bundle.js';
import { secondsOf, zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

/** Cases at once: the server does most of the waiting. */
const BATCH = 20;

/**
 * Every forgery over every way into the tenant's real Worker, by an attacker who holds the tenant's Temporal token and
 * makes commands by hand. Each ends with an envelope fault, the line is asked nothing, and the tenant's journal has a
 * record of it. The genuine envelope passes, but for children and schedules: those were never accepted.
 */
export const run: Proof = async ({ size, progress }) => {
  const until = performance.now() + secondsOf(size) * 1_000;
  installRuntime(pino({ level: 'fatal' }), 'warn');
  const database = await freshDatabase();
  const door = openTenantDoor({ url: database.appUrl, poolMax: 4, onError: () => undefined });
  const refusals: EnvelopeRefusal[] = [];
  const journal = createRefusalJournal({
    door,
    hostId: 'test-host',
    nowMs: () => performance.now(),
    log: { warn: () => undefined },
    onNew: () => undefined,
    distinctMax: 100_000,
  });
  const bundle = await bundleWithUpdates();
  const line = parkingLine();
  const world = await openTenantWorld(line.activities, {
    bundlePath: bundle.path,
    onRefusal: (tenantId, refusal) => {
      refusals.push(refusal);
      journal.note(tenantId, refusal);
    },
  });
  const attack: Attack = { world, line, refusals };
  try {
    const faults = await genuine(attack);
    const before = askedByOthers(line);
    const { tried, refused } = await forged(attack, { size, until, faults, progress });
    if (askedByOthers(line) !== before)
      faults.push(`the line was asked ${askedByOthers(line) - before} times`);
    await journal.writeOnce({ all: true });
    faults.push(...(await unrecorded(database, world, refused)));
    return zeroOf('forgeries that passed or were not journalled', tried, faults);
  } finally {
    await world.close();
    await closeFleetThreads();
    await bundle.remove();
    await door.close();
    await database.drop();
  }
};

/** The run's own envelope passes where work is accepted, and nowhere else. */
async function genuine(attack: Attack): Promise<string[]> {
  const faults: string[] = [];
  for (const [name, carrier] of Object.entries(CARRIERS)) {
    const { end } = await carrier(attack, (runId) => attack.world.envelopeOf(runId));
    if (end !== 'ok') faults.push(`${name}: the genuine envelope ended with ${end}`);
  }
  const child = await childOfWorkflowCode(attack);
  if (child.end !== 'ENVELOPE_MISMATCH') faults.push(`a child of workflow code ended with ${child.end}`);
  return faults;
}

interface Case {
  readonly what: string;
  readonly carry: () => Promise<Carried>;
}

function casesOf(attack: Attack): Case[] {
  const { world } = attack;
  const forgeries = Object.entries(forgeriesFor(world, inject('servers').keys.envelopeSigning));
  const over = (carriers: Record<string, Carrier>, list: typeof forgeries): Case[] =>
    list.flatMap(([forgery, forge]) =>
      Object.entries(carriers).map(([name, carrier]) => ({
        what: `${name}, ${forgery}`,
        carry: () => carrier(attack, forge),
      })),
    );
  const own: (typeof forgeries)[number] = ["the run's own", (runId) => world.envelopeOf(runId)];
  const reminted = Object.entries(remintedFor(world, inject('servers').keys.envelopeSigning));
  return [
    ...over(CARRIERS, forgeries),
    ...over(CLOSED_CARRIERS, [own, ...forgeries]),
    ...over(LATER_CARRIERS, reminted),
  ];
}

interface Run {
  readonly size: ProofSize;
  /** No batch begins later. */
  readonly until: number;
  readonly faults: string[];
  readonly progress: (line: string) => void;
}

async function forged(
  attack: Attack,
  { size, until, faults, progress }: Run,
): Promise<{ tried: number; refused: string[] }> {
  const cases = casesOf(attack);
  // a short run takes every so many-th case in mixed order, so that each carrier and kind of forgery has its turn
  const step = { tiny: 37, ci: 2, full: 1 }[size];
  const chosen = cases
    .map((one, index) => ({ ...one, place: (index * 7_919) % cases.length }))
    .filter(({ place }) => place % step === 0)
    .sort((a, b) => a.place - b.place);
  const refused: string[] = [];
  for (let at = 0; at < chosen.length && performance.now() < until; at += BATCH) {
    await Promise.all(
      chosen.slice(at, at + BATCH).map(async ({ what, carry }) => {
        const { end, workflowId } = await carry();
        refused.push(workflowId);
        if (!end.startsWith('ENVELOPE_')) faults.push(`${what}: ended with ${end}`);
      }),
    );
    progress(`${refused.length} of ${chosen.length}`);
  }
  if (refused.length < chosen.length) progress(`out of time: ${refused.length} of ${chosen.length} cases`);
  return { tried: refused.length, refused };
}

/** What was refused and has no record in this tenant's journal. */
async function unrecorded(
  database: TestDatabase,
  { tenantId }: TenantWorld,
  refused: readonly string[],
): Promise<string[]> {
  const rows = await database.asOwner<{ id: string }>(
    "SELECT DISTINCT body->>'workflowId' AS id FROM journal_records WHERE tenant_id = $1 AND kind = 'refusal'",
    [tenantId],
  );
  const recorded = new Set(rows.map(({ id }) => id));
  return refused.filter((id) => !recorded.has(id)).map((id) => `${id} was refused without a record`);
}
