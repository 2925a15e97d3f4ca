import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { removeOldCounters } from '@bulkhead/policy/control';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

/** Counters of limit rules: one row per rule, scope and window, of which only the present window matters. */
let database: TestDatabase;
let control: ControlDb;

beforeAll(async () => {
  database = await freshDatabase();
  control = openControlDoor({ url: database.controlUrl, poolMax: 2, onError: () => undefined });
});
afterAll(async () => {
  await control.close();
  await database.drop();
});
beforeEach(() => database.asOwner('DELETE FROM policy_counters'));

const counter = (per: string, age: string, tenant = 'acme', count = 1): Promise<unknown> =>
  database.asOwner(
    `INSERT INTO policy_counters (tenant_id, profile, rule, scope, "window", used, at)
     SELECT $1, 'default', 'r', 'tenant', $2 || ' ' || $3 || n, 1, now() - $3::interval FROM generate_series(1, $4::int) n`,
    [tenant, per, age, count],
  );
const left = async (): Promise<string[]> =>
  (
    await database.asOwner<{ left: string }>(
      `SELECT split_part("window", ' ', 1) || ' ' || floor(extract(epoch FROM now() - at) / 3600) AS left FROM policy_counters ORDER BY 1`,
    )
  ).map((row) => row.left);

describe('counters of windows that are over', () => {
  it('are removed a day later, of all tenants; others and what counts for ever stay', async () => {
    for (const tenant of ['acme', 'globex']) {
      for (const per of ['minute', 'hour', 'day']) await counter(per, '49 hours', tenant);
      await counter('minute', '25 hours', tenant);
    }
    await counter('minute', '23 hours');
    await counter('hour', '24.5 hours');
    await counter('day', '47 hours');
    await database.asOwner(
      `INSERT INTO policy_counters (tenant_id, profile, rule, scope, "window", used, at)
       VALUES ('acme', 'default', 'r', 'run:x', 'ever', 1, now() - interval '1000 days')`,
    );
    expect(await removeOldCounters(control)).toBe(8);
    expect(await removeOldCounters(control)).toBe(0);
    expect(await left()).toEqual(['day 47', 'ever 24000', 'hour 24', 'minute 23']);
  });

  it('are removed a thousand at a time', async () => {
    await counter('minute', '30 hours', 'acme', 1_500);
    await counter('day', '30 hours', 'globex', 1_500);
    expect(await removeOldCounters(control)).toBe(1_000);
    expect(await removeOldCounters(control)).toBe(500);
    expect(await left()).toHaveLength(1_500);
  });
});

it('attack: whoever holds the control door removes or reads a count that is still in use', async () => {
  await counter('minute', '1 hour');
  await counter('ever', '1000 days');
  expect(await control.query('DELETE FROM policy_counters RETURNING tenant_id')).toEqual([]);
  expect(await control.query('SELECT tenant_id FROM policy_counters')).toEqual([]);
  await expect(control.query('SELECT used FROM policy_counters')).rejects.toThrow(/permission denied/);
  expect(await left()).toHaveLength(2);
});
