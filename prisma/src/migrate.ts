import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';

const ROOM = fileURLToPath(new URL('..', import.meta.url));
const MIGRATIONS = join(ROOM, 'migrations');

/** A migration could not be applied; the message is what the engine said. Nothing half-done stays: each runs in one transaction. */
export class MigrationFailed extends Error {
  override readonly name = 'MigrationFailed';
}

/**
 * Brings the database of `ownerUrl` (created when missing) to the newest schema. Two callers at once are safe.
 * Takes about a second when there is something to do and a few milliseconds when there is not.
 * @returns how many migrations there are and whether any had to be applied.
 */
export async function migrate(ownerUrl: string): Promise<{ total: number; applied: boolean }> {
  const wanted = await wantedChecksums();
  if (await upToDate(ownerUrl, wanted)) return { total: wanted.size, applied: false };
  await prismaDeploy(ownerUrl);
  return { total: wanted.size, applied: true };
}

/** Gives the two door roles their logins. Passwords go as data over the connection, never into argv or environment. */
export async function ensureLogins(
  ownerUrl: string,
  logins: { appPassword: string; controlPassword: string },
): Promise<void> {
  const client = new pg.Client({ connectionString: ownerUrl });
  client.on('error', () => undefined); // a server that stops meanwhile: the call itself throws
  await client.connect();
  try {
    // without this the passwords could stand in the server's statement log
    await client.query("SET log_statement = 'none'").catch(() => undefined); // only a superuser may
    await client.query(`ALTER ROLE bulkhead_app LOGIN PASSWORD ${pg.escapeLiteral(logins.appPassword)}`);
    await client.query(
      `ALTER ROLE bulkhead_control LOGIN PASSWORD ${pg.escapeLiteral(logins.controlPassword)}`,
    );
  } finally {
    await client.end();
  }
}

async function wantedChecksums(): Promise<Map<string, string>> {
  const names = (await readdir(MIGRATIONS, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const sums = await Promise.all(
    names.map(async ({ name }) => {
      const sql = await readFile(join(MIGRATIONS, name, 'migration.sql'));
      return [name, createHash('sha256').update(sql).digest('hex')] as const;
    }),
  );
  return new Map(sums);
}

async function upToDate(ownerUrl: string, wanted: Map<string, string>): Promise<boolean> {
  const client = new pg.Client({ connectionString: ownerUrl });
  client.on('error', () => undefined); // a server that stops meanwhile: the call itself throws
  try {
    await client.connect();
    const { rows } = await client.query<{ migration_name: string; checksum: string }>(
      'SELECT migration_name, checksum FROM _prisma_migrations WHERE finished_at IS NOT NULL AND rolled_back_at IS NULL',
    );
    const have = new Map(rows.map((row) => [row.migration_name, row.checksum]));
    return [...wanted].every(([name, sum]) => have.get(name) === sum);
  } catch (error) {
    // 3D000: no such database, 42P01: no migrations table yet; anything else is the engine's to explain
    if (['3D000', '42P01'].includes((error as { code?: string }).code ?? '')) return false;
    throw error;
  } finally {
    await client.end();
  }
}

/** The engine shows its URL in argv, so the URL goes without the password, which travels in a 0600 pgpass file. */
async function prismaDeploy(ownerUrl: string): Promise<void> {
  const url = new URL(ownerUrl);
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-migrate-'));
  try {
    const passfile = join(folder, 'pgpass');
    const escape = (text: string): string => decodeURIComponent(text).replace(/[\\:]/g, '\\$&');
    await writeFile(passfile, `*:*:*:*:${escape(url.password)}\n`, { mode: 0o600 });
    url.password = '';
    const cli = createRequire(import.meta.url).resolve('prisma/build/index.js');
    await promisify(execFile)(process.execPath, [cli, 'migrate', 'deploy'], {
      cwd: ROOM,
      env: {
        PATH: `${dirname(process.execPath)}:${process.env.PATH ?? ''}`,
        HOME: process.env.HOME ?? '',
        CHECKPOINT_DISABLE: '1',
        PGPASSFILE: passfile,
        BULKHEAD_MIGRATE_URL: url.href,
      },
    });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new MigrationFailed(`prisma migrate deploy failed: ${(stderr + stdout).trim().slice(-2000)}`, {
      cause: error,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}
