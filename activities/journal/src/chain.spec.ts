import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json } from '@bulkhead/contract';
import { GENESIS, recordHash, verify } from './chain.js';
import type { ChainRecord } from './chain.js';

function chainOf(bodies: readonly Json[]): ChainRecord[] {
  let prevHash: Uint8Array = GENESIS;
  return bodies.map((body, i) => {
    const bare = {
      tenantId: 'acme',
      seq: BigInt(i + 1),
      id: BigInt(10 * i),
      kind: 'intent',
      runId: 'r',
      key: 'k',
      body,
      at: new Date(i),
    };
    const record = { ...bare, prevHash, hash: recordHash(prevHash, bare) };
    prevHash = record.hash;
    return record;
  });
}
const bodies = fc.array(fc.dictionary(fc.constantFrom('a', 'b'), fc.integer()), {
  minLength: 1,
  maxLength: 8,
});
type Edit = (record: ChainRecord) => Partial<ChainRecord>;
const EDITS: readonly Edit[] = [
  () => ({ body: { forged: true } }),
  () => ({ kind: 'close' }),
  () => ({ runId: 'other' }),
  () => ({ key: null }),
  () => ({ tenantId: 'globex' }),
  ({ id }) => ({ id: id + 1n }),
  ({ at }) => ({ at: new Date(at.getTime() + 1) }),
  () => ({ prevHash: new Uint8Array(32).fill(7) }),
  () => ({ hash: null }),
  ({ seq }) => ({ seq: seq + 1n }),
];

describe('verify', () => {
  it('accepts an untouched chain, whole or from a known head', () => {
    const records = chainOf([{ a: 1 }, { b: 2 }, { c: 3 }]);
    expect(verify(records)).toMatchObject({ ok: true, records: 3 });
    expect(verify(records.slice(1), { seq: 1n, hash: records[0]!.hash! })).toMatchObject({
      ok: true,
      records: 2,
    });
    expect(verify([])).toMatchObject({ ok: true, records: 0 });
  });

  it('names the first record that was edited, whatever was edited', () => {
    fc.assert(
      fc.property(bodies, fc.nat(), fc.constantFrom(...EDITS), (all, where, edit) => {
        const records = chainOf(all);
        const at = where % records.length;
        records[at] = { ...records[at]!, ...edit(records[at]!) };
        expect(verify(records)).toMatchObject({ ok: false, badSeq: at + 1 });
      }),
    );
  });

  it('attack: an edited record is hashed again; the next one gives it away', () => {
    const records = chainOf([{ a: 1 }, { b: 2 }, { c: 3 }]);
    const forged = { ...records[1]!, body: { b: 3 } };
    records[1] = { ...forged, hash: recordHash(forged.prevHash!, forged) };
    expect(verify(records)).toMatchObject({ ok: false, badSeq: 3 });
  });

  it('notices a record that is missing, doubled or swapped', () => {
    const [a, b, c] = chainOf([1, 2, 3]) as [ChainRecord, ChainRecord, ChainRecord];
    for (const records of [
      [a, c],
      [b, c],
      [a, a, b],
      [b, a, c],
    ])
      expect(verify(records).ok).toBe(false);
  });
});
