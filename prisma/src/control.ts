import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { Prisma, PrismaClient } from './generated/client.js';
import { databaseFault } from './errors.js';
import { IDLE_IN_TRANSACTION_MS } from './limits.js';
import { listen } from './listen.js';
import type { DoorOptions } from './tenant.js';

export { Prisma } from './generated/client.js';

/**
 * The control door: role bulkhead_control, named tables and columns of all tenants. Only the control process, the
 * control parts of capabilities and the API's authentication may import it.
 */
export interface ControlDb {
  readonly client: PrismaClient;
  /** One transaction. @throws BulkheadError DATABASE_UNAVAILABLE when PostgreSQL does not answer. */
  run<T>(work: (db: Prisma.TransactionClient) => Promise<T>): Promise<T>;
  /** @param name prepares the text once per connection under this name of its own; for what is asked at each request. */
  query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[], name?: string): Promise<Row[]>;
  /**
   * Calls back for each notification on `channel`, and once with '' after every (re)connect, because what was sent
   * while nobody listened is lost: notifications are hints, the rows decide. Returns the function that stops.
   */
  listen(channel: string, onHint: (payload: string) => void): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** Opens the control door on the login of the role bulkhead_control. */
export function openControlDoor(options: DoorOptions): ControlDb {
  const pool = new pg.Pool({
    connectionString: options.url,
    max: options.poolMax,
    connectionTimeoutMillis: 5_000,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
  });
  pool.on('error', options.onError);
  const client = new PrismaClient({ adapter: new PrismaPg(pool, { disposeExternalPool: false }) });
  const faulty = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw databaseFault(error);
    }
  };
  return {
    client,
    run: (work) => faulty(() => client.$transaction(work, { maxWait: 5_000, timeout: 15_000 })),
    query: <Row extends pg.QueryResultRow>(text: string, values: unknown[] = [], name?: string) =>
      faulty(async () => (await pool.query<Row>({ text, values, ...(name && { name }) })).rows),
    listen: (channel, onHint) => listen(options, channel, onHint),
    async close() {
      await client.$disconnect();
      await pool.end();
    },
  };
}
