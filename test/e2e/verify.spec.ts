import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ownerLogin, startInstallation } from '../support/installation.js';
import type { TestInstallation } from '../support/installation.js';

/** `npm run verify` on a running installation, and somebody with the database owner's password. */
const VERIFY = fileURLToPath(new URL('../../tools/dist/verify.js', import.meta.url));
let installation: TestInstallation;
let owner: pg.Client;

beforeAll(async () => {
  installation = await startInstallation();
  owner = new pg.Client({ ...(await ownerLogin(installation)), database: 'bulkhead' });
  await owner.connect();
}, 120_000);
afterAll(async () => {
  await owner.end();
  await installation.stop();
});

function verify(...flags: string[]): { code: number | null; output: string } {
  const run = spawnSync(process.execPath, [VERIFY, '--data', installation.dataDir, ...flags], {
    encoding: 'utf8',
  });
  return { code: run.status, output: run.stdout + run.stderr };
}

/** Runs `forgery` on one record of acme in the middle of its chain, looks, and puts the record back. */
async function forged(forgery: string): Promise<{ code: number | null; output: string; seq: string }> {
  await owner.query(
    'CREATE TEMP TABLE IF NOT EXISTS saved AS SELECT * FROM journal_records WHERE tenant_id = $1',
    ['acme'],
  );
  const { rows } = await owner.query<{ seq: string }>(
    "SELECT seq FROM saved WHERE kind = 'close' ORDER BY seq OFFSET 1 LIMIT 1",
  );
  const seq = rows[0]?.seq ?? '';
  await owner.query(forgery.replaceAll('SEQ', seq));
  const seen = verify();
  await owner.query("DELETE FROM journal_records WHERE tenant_id = 'acme'");
  await owner.query('INSERT INTO journal_records SELECT * FROM saved');
  return { ...seen, seq };
}

it('says that an untouched journal is unbroken', () => {
  const { code, output } = verify();
  expect(output).toMatch(/^acme: \d+ records, unbroken/m);
  expect(output).toMatch(/^globex: \d+ records, unbroken/m);
  expect(code).toBe(0);
  expect(JSON.parse(verify('--json').output)).toMatchObject([
    { tenantId: 'acme', ok: true },
    { tenantId: 'globex', ok: true },
  ]);
});

it.each([
  [
    'edits one field of one entry',
    `UPDATE journal_records SET body = jsonb_set(body, '{outcome}', '"denied"') WHERE tenant_id = 'acme' AND seq = SEQ`,
  ],
  [
    'moves one entry in time',
    `UPDATE journal_records SET at = at + interval '1 minute' WHERE tenant_id = 'acme' AND seq = SEQ`,
  ],
  [
    'gives one entry to another run',
    `UPDATE journal_records SET run_id = 'acme.run.other' WHERE tenant_id = 'acme' AND seq = SEQ`,
  ],
  ['deletes one entry', `DELETE FROM journal_records WHERE tenant_id = 'acme' AND seq = SEQ`],
])('names the record when the owner of the database %s', async (_, forgery) => {
  const { code, output, seq } = await forged(forgery);
  expect(code).toBe(1);
  expect(output).toMatch(new RegExp(`^acme: BROKEN at record ${seq} `, 'm'));
  expect(output).toMatch(/^globex: \d+ records, unbroken/m);
});

it('notices that the newest entries were cut off', async () => {
  const { code, output } = await forged(`DELETE FROM journal_records WHERE tenant_id = 'acme' AND seq > SEQ`);
  expect(code).toBe(1);
  expect(output).toMatch(/^acme: .*(head|BROKEN)/m);
});
