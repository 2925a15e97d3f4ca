import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { tenantId as parseTenantId } from '@bulkhead/contract';
import type { Json, TenantId } from '@bulkhead/contract';
import { Prisma, PrismaClient } from './generated/client.js';
import { databaseFault } from './errors.js';
import { FairShare } from './fair-share.js';
import { IDLE_IN_TRANSACTION_MS } from './limits.js';
import { listen } from './listen.js';
import { prepareReads, scopedRead } from './scoped-read.js';
import type { ReadStatement } from './scoped-read.js';

export { Prisma } from './generated/client.js';
export type { ReadStatement } from './scoped-read.js';

/** The generated client inside one transaction in which the tenant is set. */
export type TenantClient = Prisma.TransactionClient;

/** The plpgsql functions of the line; each takes one JSON argument, sets the tenant itself and commits by itself. */
export type LineFunction =
  | 'admit'
  | 'settle'
  | 'decide'
  | 'remove_content'
  | 'note_reads'
  | 'grant_secret'
  | 'lease_for_import'
  | 'accept_run'
  | 'request_run'
  | 'request_lifecycle'
  | 'decide_approval'
  | 'publish_policy'
  | 'run_facts'
  | 'run_tools'
  | 'stop_calls'
  | 'resume_calls'
  | 'calls_to_stop'
  | 'stops_not_in_force'
  | 'revoke_secrets'
  | 'revocations_not_in_force'
  | 'lift_revocation'
  | 'key_outage'
  | 'host_register'
  | 'host_beat';

/** What one tenant's code may do with the database. There is no way to another tenant from here. */
export interface TenantDb {
  readonly tenantId: TenantId;
  /**
   * Runs `work` in one transaction with the tenant set; all of it or nothing is kept.
   * @throws BulkheadError DATABASE_UNAVAILABLE when PostgreSQL does not answer.
   */
  run<T>(work: (db: TenantClient) => Promise<T>): Promise<T>;
  /**
   * Takes the tenant's exclusive lock first: for changes of policy, tools, secrets and control state. Waits for
   * every admit in flight and holds off later ones until commit.
   */
  change<T>(work: (db: TenantClient) => Promise<T>): Promise<T>;
  /**
   * One round trip for one SELECT, about as fast as the bare driver: for hot reads. Rows have the columns' own names.
   * The transaction is read-only, and the statement's name must be its own: another text under it is refused.
   */
  read<Row extends object>(statement: ReadStatement, values: readonly unknown[]): Promise<Row[]>;
  /**
   * One round trip: calls a function with `{ ...argument, tenantId }` and returns its JSON answer, unchecked. `sealed` is
   * the second argument of functions that take one: bytes, which as text in JSON would be read and copied several times.
   */
  call(
    name: LineFunction,
    argument: { readonly [key: string]: Json | undefined },
    sealed?: Uint8Array,
  ): Promise<unknown>;
}

export interface TenantDoor {
  /** @throws InvalidId when no tenant is given: an omitted tenant is an error, never "all". */
  tenant(id: TenantId): TenantDb;
  /** Calls that belong to no tenant: a host's registration and beat. */
  host(name: 'host_register' | 'host_beat', hostId: string): Promise<unknown>;
  /**
   * Calls back for each notification on `channel`, and with '' after every (re)connect, on a connection of its own. What
   * comes names a tenant at most and is a hint. Returns the function that stops.
   */
  listen(channel: string, onHint: (payload: string) => void): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

export interface DoorOptions {
  /** Login of the role bulkhead_app. */
  readonly url: string;
  /** Connections at most, and one more for beats; one tenant holds at most a quarter of them (at least one). */
  readonly poolMax: number;
  /** An idle connection broke; the pool replaces it. */
  readonly onError: (error: Error) => void;
}

/** Opens the tenant door: row level security as role bulkhead_app below, the tenant as an explicit argument above. */
export function openTenantDoor(options: DoorOptions): TenantDoor {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolMax,
    connectionTimeoutMillis: 5_000,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    verify: prepareReads,
  });
  pool.on('error', options.onError);
  // of its own: a host whose connections are all busy must still beat, or it is fenced for being used
  const beats = new pg.Pool({ connectionString: options.url, max: 1, connectionTimeoutMillis: 5_000 });
  beats.on('error', options.onError);
  const prisma = new PrismaClient({ adapter: new PrismaPg(pool, { disposeExternalPool: false }) });
  const shares = new FairShare(Math.max(1, Math.floor(options.poolMax / 4)));

  const callOn = async (
    pool: pg.Pool,
    name: LineFunction,
    argument: object,
    sealed?: Uint8Array,
  ): Promise<unknown> => {
    const values = [JSON.stringify(argument), ...(sealed ? [Buffer.from(sealed)] : [])];
    try {
      // the name is one of the literals above, never input; a named statement is prepared once per connection
      const answer = await pool.query({
        name: `${name}/${values.length}`,
        text: `SELECT ${name}($1::jsonb${sealed ? ', $2::bytea' : ''}) AS answer`,
        values,
      });
      return (answer.rows[0] as { answer: unknown } | undefined)?.answer;
    } catch (error) {
      throw databaseFault(error);
    }
  };

  const read = async <Row extends object>(
    id: TenantId,
    statement: ReadStatement,
    values: readonly unknown[],
  ): Promise<Row[]> => {
    try {
      return await scopedRead<Row>(pool, id, statement, values);
    } catch (error) {
      throw databaseFault(error);
    }
  };

  const transaction = async <T>(
    id: TenantId,
    lock: boolean,
    work: (db: TenantClient) => Promise<T>,
  ): Promise<T> => {
    try {
      return await prisma.$transaction(
        async (db) => {
          await db.$executeRaw`SELECT set_config('app.tenant', ${id}, true)`;
          if (lock) await db.$executeRaw`SELECT lock_tenant_exclusive()`;
          return work(db);
        },
        { maxWait: 5_000, timeout: 15_000 },
      );
    } catch (error) {
      throw databaseFault(error);
    }
  };

  return {
    tenant(given) {
      const id = parseTenantId(given);
      return {
        tenantId: id,
        run: (work) => shares.use(id, () => transaction(id, false, work)),
        change: (work) => shares.use(id, () => transaction(id, true, work)),
        read: (statement, values) => shares.use(id, () => read(id, statement, values)),
        call: (name, argument, sealed) =>
          shares.use(id, () => callOn(pool, name, { ...argument, tenantId: id }, sealed)),
      };
    },
    host: (name, hostId) => callOn(beats, name, { host: hostId }),
    listen: (channel, onHint) => listen(options, channel, onHint),
    async close() {
      await prisma.$disconnect();
      await Promise.all([pool.end(), beats.end()]);
    },
  };
}

/** A tenant's key-encryption key as it is stored: wrapped by the master key, so useless without it. */
interface StoredTenantKey {
  readonly keyId: string;
  readonly wrapped: Uint8Array;
}

/**
 * Reads a tenant's wrapped key through its own door: the one with that id, or the one to seal with. Retired keys are
 * found by id only; of a destroyed one the row is left, without its bytes.
 */
export function tenantKeys(
  door: Pick<TenantDoor, 'tenant'>,
): (tenantId: TenantId, keyId?: string) => Promise<StoredTenantKey | undefined> {
  return async (tenantId, keyId) => {
    const where = keyId === undefined ? { state: { not: 'retired' } } : { keyId };
    const row = await door
      .tenant(tenantId)
      .run((tx) => tx.tenantKey.findFirst({ where, orderBy: { createdAt: 'desc' } }));
    return row ?? undefined;
  };
}
