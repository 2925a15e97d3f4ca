import { setTimeout as sleep } from 'node:timers/promises';
import { CHANNELS } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import { recordHash } from './chain.js';

export { GENESIS, recordHash, verify } from './chain.js';
export type { ChainRecord, ChainVerdict } from './chain.js';
export { compareEffects, verifyTenant } from './control-verify.js';
export type { TenantVerdict } from './control-verify.js';
export { createReaper } from './control-reaper.js';
export type { Reaped, Reaper } from './control-reaper.js';

export interface Sealer {
  /** Seals one batch per tenant that has unsealed records; returns how many records it sealed. */
  sealOnce(): Promise<number>;
  /** Seals until the signal ends it; a failure is reported and tried again. */
  run(signal: AbortSignal): Promise<void>;
}

export interface SealerDeps {
  readonly control: Pick<ControlDb, 'run' | 'query'>;
  readonly onError: (error: unknown) => void;
}

const BATCH_MAX = 500;
const TENANTS_MAX = 200;
/** Whoever watches runs learns of a change this much later at most. What a round costs does not depend on how much it seals. */
const PAUSE_MS = 500;
/** Runs per notification: its payload may hold 8,000 bytes. */
const HINT_RUNS_MAX = 50;

interface Row {
  readonly id: bigint;
  readonly kind: string;
  readonly run_id: string | null;
  readonly key: string | null;
  readonly body: Json;
  readonly at: Date;
}

/**
 * Gives unsealed records their positions and chains them, per tenant, outside the tenants' own transactions. It takes
 * whatever is unsealed (`seq IS NULL`), never "after the last one": a transaction that commits late is not skipped.
 */
export function createSealer(deps: SealerDeps): Sealer {
  const sealOnce = async (): Promise<number> => {
    // over the index on unsealed rows: idle tenants cost nothing. Who waits longest comes first: past 30 s a tenant stands still
    const tenants = await deps.control.query<{ tenant_id: string }>(
      'SELECT tenant_id FROM journal_records WHERE seq IS NULL GROUP BY tenant_id ORDER BY min(at) LIMIT $1',
      [TENANTS_MAX],
    );
    let sealed = 0;
    for (const { tenant_id: tenantId } of tenants) {
      try {
        sealed += await sealTenant(deps.control, tenantId);
      } catch (error) {
        deps.onError(error); // one tenant's trouble must not keep the others' journals open
      }
    }
    return sealed;
  };
  return {
    sealOnce,
    async run(signal) {
      while (!signal.aborted) {
        let sealed = 0;
        try {
          sealed = await sealOnce();
        } catch (error) {
          deps.onError(error);
        }
        // a full batch: there may be more already
        if (sealed < BATCH_MAX) await pause(PAUSE_MS, signal);
      }
    },
  };
}

function sealTenant(control: Pick<ControlDb, 'run'>, tenantId: string): Promise<number> {
  return control.run(async (tx) => {
    // the lock on the head makes one sealer per tenant, however many control processes run
    const [head] = await tx.$queryRaw<{ seq: bigint; hash: Uint8Array }[]>`
      SELECT seq, hash FROM journal_heads WHERE tenant_id = ${tenantId} FOR UPDATE`;
    if (!head) throw new Error(`tenant ${tenantId} has no journal head`);
    const rows = await tx.$queryRaw<Row[]>`
      SELECT id, kind, run_id, key, body, at FROM journal_records
       WHERE tenant_id = ${tenantId} AND seq IS NULL ORDER BY id LIMIT ${BATCH_MAX}`;
    if (rows.length === 0) return 0;
    const links = chain(tenantId, head, rows);
    const last = links[links.length - 1]!;
    const told = hints(tenantId, rows);
    // positions, head and hints in one statement: every round trip here is processor time that calls wait for
    await tx.$executeRaw`
      WITH sealed AS (
        UPDATE journal_records r SET seq = l.seq, prev_hash = l.prev_hash, hash = l.hash
          FROM unnest(${links.map((link) => link.id)}::bigint[], ${links.map((link) => link.seq)}::bigint[],
                      ${links.map((link) => link.prevHash)}::bytea[], ${links.map((link) => link.hash)}::bytea[])
               AS l (id, seq, prev_hash, hash)
         WHERE r.tenant_id = ${tenantId} AND r.id = l.id AND r.seq IS NULL),
      head AS (UPDATE journal_heads SET seq = ${last.seq}, hash = ${last.hash} WHERE tenant_id = ${tenantId})
      SELECT pg_notify(channel, hint)
        FROM unnest(${told.map(({ channel }) => channel)}::text[], ${told.map(({ text }) => text)}::text[]) AS h (channel, hint)`;
    return rows.length;
  });
}

interface Link {
  readonly id: bigint;
  readonly seq: bigint;
  readonly prevHash: Uint8Array<ArrayBuffer>;
  readonly hash: Uint8Array<ArrayBuffer>;
}

function chain(
  tenantId: string,
  head: { readonly seq: bigint; readonly hash: Uint8Array },
  rows: readonly Row[],
): Link[] {
  let seq = head.seq;
  let prevHash = new Uint8Array(head.hash);
  return rows.map(({ id, kind, run_id: runId, key, body, at }) => {
    seq += 1n;
    const hash = new Uint8Array(recordHash(prevHash, { tenantId, seq, id, kind, runId, key, body, at }));
    const link = { id, seq, prevHash, hash };
    prevHash = hash;
    return link;
  });
}

interface Hint {
  readonly channel: string;
  readonly text: string;
}

/** For whoever watches runs: `[{ tenantId, runId }]`, and approvals, of which a call that asks for one tells nobody. The rows decide. */
function hints(tenantId: string, rows: readonly Row[]): Hint[] {
  const runs = [...new Set(rows.flatMap((row) => row.run_id ?? []))];
  const told: Hint[] = [];
  for (let at = 0; at < runs.length; at += HINT_RUNS_MAX) {
    const some = runs.slice(at, at + HINT_RUNS_MAX).map((runId) => ({ tenantId, runId }));
    told.push({ channel: CHANNELS.runs, text: JSON.stringify(some) });
  }
  if (rows.some(({ kind }) => kind === 'approval'))
    told.push({ channel: CHANNELS.changes, text: `approvals ${tenantId}` });
  return told;
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined); // rejects only when stopped
}
