import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { inject } from 'vitest';

/** One database of its own, cloned from the migrated template. All three URLs name the same database. */
export interface TestDatabase {
  readonly name: string;
  readonly ownerUrl: string;
  readonly appUrl: string;
  readonly controlUrl: string;
  /** Runs SQL as the owner, past row level security: for arranging and for looking, never as the code under test. */
  asOwner<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>;
  drop(): Promise<void>;
}

/** Clones the template (about 40 ms). Call it once per test file and `drop()` it at the end. */
export async function freshDatabase(): Promise<TestDatabase> {
  const servers = inject('servers');
  const name = `t_${randomBytes(6).toString('hex')}`;
  const password = (await readFile(servers.postgres.passwordFile, 'utf8')).trim();
  const url = (user: string, secret: string, database: string): string =>
    `postgresql://${user}:${secret}@${servers.postgres.host}:${servers.postgres.port}/${database}`;
  const admin = async (sql: string): Promise<void> => {
    const client = new pg.Client({ connectionString: url(servers.postgres.superuser, password, 'postgres') });
    await client.connect();
    try {
      await client.query(sql);
    } finally {
      await client.end();
    }
  };
  await admin(`CREATE DATABASE ${name} TEMPLATE ${servers.template} STRATEGY file_copy`);
  const ownerUrl = url(servers.postgres.superuser, password, name);
  const owner = new pg.Pool({ connectionString: ownerUrl, max: 2 });
  return {
    name,
    ownerUrl,
    appUrl: url('bulkhead_app', servers.appPassword, name),
    controlUrl: url('bulkhead_control', servers.controlPassword, name),
    asOwner: async <Row extends pg.QueryResultRow>(sql: string, values: unknown[] = []) =>
      (await owner.query<Row>(sql, values)).rows,
    async drop() {
      await owner.end();
      await dropWhenUnused(name, admin);
    },
  };
}

/**
 * A closed pool's connections end a moment later on the server. Forcing them out meanwhile would reach the closing
 * sockets as an error that nobody listens for, so force is for connections that a test forgot.
 */
async function dropWhenUnused(name: string, admin: (sql: string) => Promise<void>): Promise<void> {
  for (let tries = 0; tries < 40; tries += 1) {
    try {
      return await admin(`DROP DATABASE ${name}`);
    } catch (error) {
      if ((error as { code?: string }).code !== '55006') throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await admin(`DROP DATABASE ${name} WITH (FORCE)`);
}
