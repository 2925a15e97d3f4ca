import { createHash } from 'node:crypto';
import { canonicalJson } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';

/** One immutable record of a tenant's journal, as it stands in the database or in an export. */
export interface ChainRecord {
  readonly tenantId: string;
  readonly seq: bigint;
  readonly id: bigint;
  readonly kind: string;
  readonly runId: string | null;
  readonly key: string | null;
  readonly body: Json;
  readonly at: Date;
  readonly prevHash: Uint8Array | null;
  readonly hash: Uint8Array | null;
}

/** A chain begins after 32 zero bytes. */
export const GENESIS: Uint8Array = new Uint8Array(32);

/** SHA-256(hash of the record before || canonical JSON of this record without its hashes). */
export function recordHash(
  prevHash: Uint8Array,
  record: Omit<ChainRecord, 'prevHash' | 'hash'>,
): Buffer<ArrayBuffer> {
  const { tenantId, seq, id, kind, runId, key, body, at } = record;
  const text = canonicalJson({
    tenantId,
    seq: String(seq),
    id: String(id),
    kind,
    runId,
    key,
    body,
    at: at.toISOString(),
  });
  return createHash('sha256').update(prevHash).update(text, 'utf8').digest();
}

export type ChainVerdict =
  | { readonly ok: true; readonly records: number; readonly head: Buffer }
  /** The first position that is missing, doubled, changed or not joined to the one before. */
  | { readonly ok: false; readonly records: number; readonly badSeq: number; readonly why: string };

/**
 * Checks one tenant's sealed records in order of seq, from position 1 or after a known head. Needs no database: an
 * export can be checked where the platform is not trusted.
 */
export function verify(
  records: Iterable<ChainRecord>,
  from: { readonly seq: bigint; readonly hash: Uint8Array } = { seq: 0n, hash: GENESIS },
): ChainVerdict {
  let { seq } = from;
  let hash = Buffer.from(from.hash);
  let count = 0;
  const bad = (why: string): ChainVerdict => ({ ok: false, records: count, badSeq: Number(seq), why });
  for (const record of records) {
    seq += 1n;
    if (record.seq !== seq) return bad(`position ${seq} is missing or doubled`);
    if (!record.prevHash || !hash.equals(record.prevHash))
      return bad('it is not joined to the record before');
    const expected = recordHash(hash, record);
    if (!record.hash || !expected.equals(record.hash)) return bad('its content does not match its hash');
    hash = expected;
    count += 1;
  }
  return { ok: true, records: count, head: hash };
}
