import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import pg from 'pg';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

const BY_KEY = /tenant_id = .* AND \(key = /;

/** The statements with which admit and settle find the entry of a call, and tell whether the sealer lags; and by what each must go. */
const LOOK_UPS: readonly (readonly [string, RegExp])[] = [
  ['SELECT * FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = $1 FOR UPDATE', BY_KEY],
  [
    "UPDATE effects SET state = 'closed', closed_at = now() WHERE tenant_id = app_tenant() AND key = $1",
    BY_KEY,
  ],
  [
    "UPDATE effects x SET state = 'closed', closed_at = now() WHERE x.tenant_id = app_tenant() AND x.key = $1 AND x.closed_at IS NULL",
    BY_KEY,
  ],
  // not by what is unsealed alone: a busy neighbour has thousands of such records
  [
    "SELECT FROM journal_records j WHERE j.tenant_id = app_tenant() AND j.seq IS NULL AND j.at < now() - interval '30 seconds'",
    /tenant_id = .* AND \(at < /,
  ],
];

/**
 * A statement inside a function is planned on whatever statistics there are, and a new table has none. A plan that goes
 * by the tenant alone gives the right answer and reads every effect that the tenant ever had, on each call.
 */
describe('how the line finds the entry of a call', () => {
  let database: TestDatabase;
  let app: pg.Client;

  beforeAll(async () => {
    database = await freshDatabase();
    app = new pg.Client({ connectionString: database.appUrl });
    await app.connect();
    await app.query(
      "SELECT set_config('app.tenant', 'acme', false), set_config('enable_seqscan', 'off', false)",
    );
  });
  afterAll(async () => {
    await app.end();
    await database.drop();
  });

  const grow = (tenants: string, count: number): Promise<unknown> =>
    database.asOwner(
      `INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
         holder_host, holder_token, policy_version, rule, target, "window", request, deadline_at)
       SELECT ${tenants}, md5(random()::text), 'acme.run.1', 'acme.run.1', 't', 'a.b.c', 1, 'write', 'keyed', 'h', 't', 1, 'r', 'x', 'd', '\\x00', now()
         FROM generate_series(1, $1::int) AS i`,
      [count],
    );

  /** Of each look-up, the conditions by which its plans go. */
  const conditions = async (): Promise<string[][]> => {
    const found = LOOK_UPS.map((): string[] => []);
    for (const mode of ['force_custom_plan', 'force_generic_plan']) {
      await app.query(`SET plan_cache_mode = ${mode}`);
      for (const [i, [text]] of LOOK_UPS.entries()) {
        await app.query(`PREPARE look_up_${i}(text) AS ${text}`);
        const { rows } = await app.query<{ 'QUERY PLAN': string }>(
          `EXPLAIN EXECUTE look_up_${i}('some key')`,
        );
        await app.query(`DEALLOCATE look_up_${i}`);
        const lines = rows.map((row) => row['QUERY PLAN'].trim());
        found[i]?.push(...lines.filter((line) => line.startsWith('Index Cond')));
      }
    }
    return found;
  };

  it.each([
    ['in a table without statistics', async () => undefined],
    ['in one that has grown since, without statistics', () => grow("'acme'", 400)],
    [
      'after statistics from a day on which each tenant had one effect',
      async () => {
        await grow("'tenant-' || i", 400);
        await database.asOwner("DELETE FROM effects WHERE tenant_id = 'acme'");
        await database.asOwner('ANALYZE effects');
        await grow("'acme'", 2_000);
      },
    ],
  ])('goes by the key %s', async (_, arrange) => {
    await arrange();
    const found = await conditions();
    for (const [i, [text, condition]] of LOOK_UPS.entries()) {
      expect(found[i], text).toHaveLength(2);
      for (const by of found[i] ?? []) expect(by, text).toMatch(condition);
    }
  });
});
