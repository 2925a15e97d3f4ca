import type { Json } from '@bulkhead/contract';
import type { ControlDb, Prisma } from '@bulkhead/prisma/control';
import { GENESIS, verify } from './chain.js';
import { createRemovals, REMOVAL, removedCalls } from './removals.js';
import type { EffectRow, Removals } from './removals.js';
import type { ChainRecord, ChainVerdict } from './chain.js';

export interface TenantVerdict {
  readonly tenantId: string;
  readonly chain: ChainVerdict;
  /** What else does not fit: the head, effects that contradict their records. Empty when all is well. */
  readonly problems: readonly string[];
}

const PAGE = 1_000;

const SNAPSHOT = { isolationLevel: 'RepeatableRead', maxWait: 10_000, timeout: 600_000 } as const;

/**
 * Checks a tenant's whole chain in pages, its head, and that each effect says what its records say. All of it in one
 * snapshot, so that a platform that goes on working does not look like a forgery.
 */
export function verifyTenant(control: Pick<ControlDb, 'client'>, tenantId: string): Promise<TenantVerdict> {
  return control.client.$transaction(async (tx) => {
    let from = { seq: 0n, hash: GENESIS };
    let records = 0;
    const last = new Map<string, LastRecord>();
    const gone = createRemovals();
    for (;;) {
      const page = await readPage(tx, tenantId, from.seq);
      const verdict = verify(page, from);
      records += verdict.records;
      if (!verdict.ok) return { tenantId, chain: { ...verdict, records }, problems: [] };
      for (const record of page) {
        remember(last, record);
        gone.remember(record);
      }
      from = { seq: from.seq + BigInt(page.length), hash: verdict.head };
      if (page.length < PAGE) break;
    }
    const problems = [
      ...(await checkHead(tx, tenantId, from)),
      ...(await checkEffects(tx, tenantId, last, gone)),
    ];
    return { tenantId, chain: { ok: true, records, head: Buffer.from(from.hash) }, problems };
  }, SNAPSHOT);
}

type Snapshot = Prisma.TransactionClient;

async function readPage(tx: Snapshot, tenantId: string, after: bigint): Promise<ChainRecord[]> {
  const rows = await tx.journalRecord.findMany({
    where: { tenantId, seq: { gt: after } },
    orderBy: { seq: 'asc' },
    take: PAGE,
  });
  return rows.flatMap(({ tenantId, seq, id, kind, runId, key, body, at, prevHash, hash }) =>
    seq === null ? [] : [{ tenantId, seq, id, kind, runId, key, body: body as Json, at, prevHash, hash }],
  );
}

/** The newest record about a key: an effect must agree with it. */
interface LastRecord {
  readonly kind: string;
  readonly outcome: unknown;
}

function remember(last: Map<string, LastRecord>, record: ChainRecord): void {
  if (record.key === null || !['intent', 'close', 'release'].includes(record.kind)) return;
  const body = record.body as { readonly outcome?: unknown };
  last.set(record.key, { kind: record.kind, outcome: body.outcome ?? null });
}

async function checkHead(
  tx: Snapshot,
  tenantId: string,
  end: { readonly seq: bigint; readonly hash: Uint8Array },
): Promise<string[]> {
  const head = await tx.journalHead.findUnique({ where: { tenantId } });
  if (!head) return ['there is no journal head'];
  if (head.seq !== end.seq) return [`the head stands at ${head.seq}, the chain ends at ${end.seq}`];
  if (!Buffer.from(end.hash).equals(head.hash)) return ["the head's hash is not the last record's"];
  return [];
}

async function checkEffects(
  tx: Snapshot,
  tenantId: string,
  last: ReadonlyMap<string, LastRecord>,
  gone: Removals,
): Promise<string[]> {
  const effects = await tx.$queryRaw<EffectRow[]>`
    SELECT key, state, outcome, request IS NOT NULL AS request, result IS NOT NULL AS result FROM effects WHERE tenant_id = ${tenantId}`;
  const unsealed = await tx.journalRecord.findMany({
    where: { tenantId, seq: null, OR: [{ key: { not: null } }, { kind: REMOVAL }] },
    select: { key: true, kind: true, body: true },
  });
  // the newest record of these has no position yet
  const moving = new Set(unsealed.flatMap((row) => row.key ?? removedCalls(row)));
  const settled = effects.filter((effect) => !moving.has(effect.key));
  return [...compareEffects(settled, last), ...gone.problems(settled)];
}

const RECORD_OF = { open: 'intent', released: 'release', closed: 'close' } as const;

/** One line for each effect that says something else than its newest journal record, and for each lost effect. */
export function compareEffects(
  effects: readonly { readonly key: string; readonly state: string; readonly outcome: string | null }[],
  last: ReadonlyMap<string, LastRecord>,
): string[] {
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const effect of effects) {
    seen.add(effect.key);
    const record = last.get(effect.key);
    const wanted = RECORD_OF[effect.state as keyof typeof RECORD_OF];
    if (!record) problems.push(`effect ${effect.key} has no record`);
    else if (record.kind !== wanted || (wanted === 'close' && record.outcome !== effect.outcome)) {
      problems.push(
        `effect ${effect.key} says ${effect.state} ${effect.outcome ?? ''}, its record ${record.kind} ${String(record.outcome ?? '')}`,
      );
    }
  }
  for (const key of last.keys()) if (!seen.has(key)) problems.push(`the effect of record ${key} is gone`);
  return problems;
}
