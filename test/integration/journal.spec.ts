import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Envelope } from '@bulkhead/contract';
import { CHANNELS } from '@bulkhead/contract';
import { createSealer, verifyTenant } from '@bulkhead/journal/control';
import type { Sealer } from '@bulkhead/journal/control';
import { listJournal } from '@bulkhead/journal/admin';
import { openLine } from '../support/line.js';
import type { LineUnderTest } from '../support/line.js';

describe('the sealed journal', () => {
  let line: LineUnderTest;
  let sealer: Sealer;
  let run: Envelope;

  beforeAll(async () => {
    line = await openLine();
    sealer = createSealer({
      control: line.control,
      onError: (error) => {
        throw error;
      },
    });
    const host = await line.newHost();
    run = await line.newRun('acme');
    for (const id of ['a', 'b', 'c']) await host.call(run, 'desk.update', { id });
    await host.call(await line.newRun('globex'), 'desk.read', { id: 'x' });
  });
  afterAll(() => line.close());

  it('chains what every tenant did, says so to whoever watches the runs, and seals nothing twice', async () => {
    const hints: string[] = [];
    const stop = await line.control.listen(CHANNELS.runs, (payload) => hints.push(payload));
    // two sealers at once: the head's lock makes them take turns
    const sealed = await Promise.all([sealer.sealOnce(), sealer.sealOnce()]);
    expect(sealed[0] + sealed[1]).toBeGreaterThan(10);
    expect(await sealer.sealOnce()).toBe(0);
    for (let i = 0; i < 100 && !hints.some((hint) => hint.includes(run.runId)); i += 1)
      await new Promise((resolve) => setTimeout(resolve, 20));
    expect(
      hints.filter((hint) => hint !== '').flatMap((hint) => JSON.parse(hint) as unknown[]),
    ).toContainEqual({ tenantId: 'acme', runId: run.runId });
    await stop();
    for (const tenant of ['acme', 'globex']) {
      expect(await verifyTenant(line.control, tenant)).toMatchObject({
        tenantId: tenant,
        chain: { ok: true },
        problems: [],
      });
    }
  });

  it('attack: more tenants write than one pass seals; whose record is oldest is never the one left out', async () => {
    await line.database.asOwner(
      `WITH t AS (SELECT 'flood-' || n AS id, now() AS at FROM generate_series(1, 220) n
                  UNION ALL SELECT 'zz-quiet', now() - interval '20 seconds'),
            heads AS (INSERT INTO journal_heads (tenant_id, hash) SELECT id, decode(repeat('00', 32), 'hex') FROM t)
       INSERT INTO journal_records (tenant_id, kind, body, at) SELECT id, 'control', '{}', at FROM t ORDER BY at`,
    );
    await sealer.sealOnce();
    expect(
      await line.database.asOwner("SELECT seq FROM journal_records WHERE tenant_id = 'zz-quiet'"),
    ).toEqual([{ seq: '1' }]);
    await sealer.sealOnce();
  });

  it('takes up a transaction that commits late, after younger records were sealed', async () => {
    let commit: () => void = () => undefined;
    const late = line.db('acme').run(async (tx) => {
      await tx.journalRecord.create({ data: { tenantId: 'acme', kind: 'control', body: { late: true } } });
      await new Promise<void>((resolve) => (commit = resolve));
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await line
      .db('acme')
      .run((tx) =>
        tx.journalRecord.create({ data: { tenantId: 'acme', kind: 'control', body: { young: true } } }),
      );
    expect(await sealer.sealOnce()).toBe(1);
    commit();
    await late;
    expect(await sealer.sealOnce()).toBe(1);
    expect(await verifyTenant(line.control, 'acme')).toMatchObject({ chain: { ok: true }, problems: [] });
  });

  it('gives a run its own records, in order, with their positions', async () => {
    const entries = await listJournal(line.db('acme'), run.runId);
    expect(entries.filter((entry) => entry.kind === 'intent')).toHaveLength(3);
    expect(entries.every((entry) => entry.seq !== undefined && /^[0-9a-f]{64}$/.test(entry.hash ?? ''))).toBe(
      true,
    );
    expect(await listJournal(line.db('globex'), run.runId)).toEqual([]);
  });

  it.each([
    [
      'one word of a body is edited',
      `UPDATE journal_records SET body = jsonb_set(body, '{outcome}', '"denied"') WHERE tenant_id = 'acme' AND kind = 'close' AND seq = $1`,
    ],
    [
      'a time is moved',
      `UPDATE journal_records SET at = at - interval '1 second' WHERE tenant_id = 'acme' AND seq = $1`,
    ],
    ['a record is deleted', `DELETE FROM journal_records WHERE tenant_id = 'acme' AND seq = $1`],
    [
      'a record is given to another run',
      `UPDATE journal_records SET run_id = 'acme.run.other' WHERE tenant_id = 'acme' AND seq = $1`,
    ],
  ])('attack on the database: %s; verify names the record', async (_, sql) => {
    const [close] = await line.database.asOwner<{ seq: string }>(
      "SELECT seq FROM journal_records WHERE tenant_id = 'acme' AND kind = 'close' ORDER BY seq LIMIT 1",
    );
    const seq = Number(close?.seq);
    await line.database.asOwner('CREATE TABLE IF NOT EXISTS spare AS SELECT * FROM journal_records');
    await line.database.asOwner(sql, [seq]);
    expect((await verifyTenant(line.control, 'acme')).chain).toMatchObject({ ok: false, badSeq: seq });
    expect((await verifyTenant(line.control, 'globex')).chain.ok).toBe(true);
    await line.database.asOwner("DELETE FROM journal_records WHERE tenant_id = 'acme'");
    await line.database.asOwner("INSERT INTO journal_records SELECT * FROM spare WHERE tenant_id = 'acme'");
    expect((await verifyTenant(line.control, 'acme')).chain.ok).toBe(true);
  });

  it('attack on the database: the end of the chain is cut off, or an effect says something else than its record', async () => {
    await line.database.asOwner(
      "DELETE FROM journal_records WHERE tenant_id = 'acme' AND seq = (SELECT max(seq) FROM journal_records WHERE tenant_id = 'acme')",
    );
    expect((await verifyTenant(line.control, 'acme')).problems).toEqual([
      expect.stringContaining('the head stands at'),
    ]);
    await line.database.asOwner(
      "INSERT INTO journal_records SELECT * FROM spare WHERE tenant_id = 'acme' ORDER BY seq DESC LIMIT 1",
    );
    expect((await verifyTenant(line.control, 'acme')).problems).toEqual([]);
    await line.database.asOwner(
      "UPDATE effects SET outcome = 'denied' WHERE tenant_id = 'acme' AND key = (SELECT min(key) FROM effects WHERE tenant_id = 'acme')",
    );
    expect((await verifyTenant(line.control, 'acme')).problems).toEqual([
      expect.stringContaining('says closed denied, its record close ok'),
    ]);
  });
});
