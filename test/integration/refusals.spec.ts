import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { agentId, buildRunId, tenantId, workspaceId } from '@bulkhead/contract';
import type { Envelope, EnvelopeRefusal } from '@bulkhead/contract';
import { createRefusalJournal } from '@bulkhead/journal/line';
import type { RefusalJournal } from '@bulkhead/journal/line';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createEnvelopeSigner } from '@bulkhead/runtime/envelope';
import { inject } from 'vitest';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');
const RUN = buildRunId(ACME, '01kb3v6r2e8m4q7x9z0a1b2c3d');
const ENVELOPE: Envelope = {
  v: 1,
  tenantId: ACME,
  workspaceId: workspaceId('main'),
  agentId: agentId('a'),
  runId: RUN,
  policyProfile: 'default',
  quotaClass: 'standard',
  actor: 'key:test0000',
  issuedAt: 1_790_000_000,
};
let database: TestDatabase;
let door: TenantDoor;
let nowMs = 0;
let hints = 0;
const logged: object[] = [];

beforeAll(async () => {
  database = await freshDatabase();
  door = openTenantDoor({ url: database.appUrl, poolMax: 4, onError: () => undefined });
  const envelope = createEnvelopeSigner(inject('servers').keys.envelopeSigning).sign(ENVELOPE);
  await database.asOwner(
    `INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor)
     VALUES ('acme', $1, 'main', 'a', 'w', 'k', '', '{}', $2, 'key:x')`,
    [RUN, envelope],
  );
});
afterAll(async () => {
  await door.close();
  await database.drop();
});
beforeEach(async () => {
  hints = 0;
  logged.length = 0;
  await database.asOwner("DELETE FROM journal_records WHERE kind = 'refusal'");
});

const journal = (distinctMax?: number): RefusalJournal =>
  createRefusalJournal({
    door,
    hostId: 'host-1',
    nowMs: () => nowMs,
    log: { warn: (fields) => logged.push(fields) },
    onNew: () => (hints += 1),
    ...(distinctMax === undefined ? {} : { distinctMax }),
  });
const refusal = (more: Partial<EnvelopeRefusal> = {}): EnvelopeRefusal => ({
  at: 'signal',
  code: 'ENVELOPE_MISMATCH',
  differs: ['actor'],
  workflowId: RUN,
  ...more,
});
const records = (): Promise<{ tenant_id: string; run_id: string | null; body: Record<string, unknown> }[]> =>
  database.asOwner("SELECT tenant_id, run_id, body FROM journal_records WHERE kind = 'refusal' ORDER BY id");

it('a refusal is a record of the Worker’s tenant, with the run it was about, and names only', async () => {
  const book = journal();
  book.note(ACME, refusal());
  await book.writeOnce();
  expect(await records()).toEqual([
    {
      tenant_id: 'acme',
      run_id: RUN,
      body: {
        refused: 'envelope',
        times: 1,
        host: 'host-1',
        at: 'signal',
        code: 'ENVELOPE_MISMATCH',
        differs: ['actor'],
        workflowId: RUN,
      },
    },
  ]);
});

it('what was presented is compared with what was accepted, field by field, and its values are nowhere', async () => {
  const book = journal();
  const [header, , signature] = createEnvelopeSigner(inject('servers').keys.envelopeSigning)
    .sign(ENVELOPE)
    .split('.');
  const claims = { ...ENVELOPE, actor: 'user:s3cret', quotaClass: 'unl1mited' };
  const presented = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`;
  book.note(ACME, refusal({ at: 'activity', code: 'ENVELOPE_INVALID', differs: ['signature'], presented }));
  await book.writeOnce();
  const [record] = await records();
  expect(record?.body['differs']).toEqual(['quotaClass', 'actor']);
  for (const kept of [JSON.stringify(record), JSON.stringify(logged)]) {
    expect(kept).not.toMatch(/s3cret|unl1mited/);
    expect(kept).not.toContain(presented.split('.')[1]);
  }
});

it('attack: a flood of the same is two records in a window, and every one of it is counted', async () => {
  const book = journal();
  for (let at = 0; at < 10_000; at += 1) {
    book.note(ACME, refusal());
    if (at % 1_000 === 0) await book.writeOnce();
  }
  expect(await records()).toHaveLength(1);
  nowMs += 60_000;
  await book.writeOnce();
  expect((await records()).map(({ body }) => body['times'])).toEqual([1, 9_999]);
  expect(hints).toBe(1);
  expect(logged).toHaveLength(1);
});

it('attack: a flood of different ones cannot fill the journal: the first are told apart, the rest is counted', async () => {
  const book = journal(60);
  for (let at = 0; at < 5_000; at += 1) book.note(ACME, refusal({ workflowId: `forged-${at}` }));
  await book.writeOnce();
  nowMs += 60_000;
  await book.writeOnce();
  const all = await records();
  expect(all.length).toBeLessThanOrEqual(62);
  expect(all.reduce((sum, { body }) => sum + Number(body['times']), 0)).toBe(5_000);
});

it('attack: one tenant’s flood takes no other tenant’s record, and a workflow id of any text is no way into the journal', async () => {
  const book = journal(5);
  for (let at = 0; at < 50; at += 1) book.note(ACME, refusal({ workflowId: `forged-${at}` }));
  const evil = `a\u0000b\ud800${'x'.repeat(10_000)}`;
  book.note(GLOBEX, refusal({ workflowId: evil }));
  book.note(GLOBEX, refusal({ workflowId: RUN }));
  await book.writeOnce();
  const theirs = (await records()).filter(({ tenant_id }) => tenant_id === 'globex');
  expect(theirs).toHaveLength(2);
  // another tenant's run is not theirs to be named in a column
  expect(theirs.map(({ run_id }) => run_id)).toEqual([null, null]);
  expect(String(theirs[0]?.body['workflowId']).length).toBeLessThanOrEqual(200);
});

it('what could not be written is written later, whole', async () => {
  let away = true;
  const book = createRefusalJournal({
    door: {
      tenant: (id) => {
        if (away && id === ACME) throw new Error('away');
        return door.tenant(id);
      },
    },
    hostId: 'host-1',
    nowMs: () => nowMs,
    log: { warn: () => undefined },
    onNew: () => undefined,
  });
  book.note(ACME, refusal());
  book.note(GLOBEX, refusal());
  await expect(book.writeOnce()).rejects.toThrow('away');
  expect((await records()).map(({ tenant_id }) => tenant_id)).toEqual(['globex']);
  away = false;
  book.note(ACME, refusal());
  await book.writeOnce();
  expect((await records()).map(({ body }) => body['times'])).toEqual([1, 2]);
});
