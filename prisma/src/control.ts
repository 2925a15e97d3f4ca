import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { Prisma, PrismaClient } from './generated/client.js';
import { databaseFault } from './errors.js';
import { IDLE_IN_TRANSACTION_MS } from './limits.js';
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

/** A connection of its own that reconnects until it is stopped; the first connect must succeed. */
async function listen(
  options: DoorOptions,
  channel: string,
  onHint: (payload: string) => void,
): Promise<() => Promise<void>> {
  const stop = new AbortController();
  let connection: pg.Client | undefined;

  const connect = async (): Promise<void> => {
    const next = new pg.Client({
      connectionString: options.url,
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
    });
    next.on('notification', (message) => onHint(message.payload ?? ''));
    next.on('error', options.onError);
    try {
      await next.connect();
      await next.query(`LISTEN ${pg.escapeIdentifier(channel)}`);
    } catch (error) {
      await next.end();
      throw error;
    }
    // only from here on: an attempt that fails ends too, and is told to whoever made it
    next.on('end', () => {
      if (!stop.signal.aborted) void reconnect();
    });
    if (stop.signal.aborted) return next.end();
    connection = next;
    onHint('');
  };
  const reconnect = async (): Promise<void> => {
    for (let waitMs = 100; !stop.signal.aborted; waitMs = Math.min(waitMs * 2, 5_000)) {
      await sleep(waitMs, undefined, { signal: stop.signal }).catch(() => undefined); // ends early only when stopped
      if (stop.signal.aborted) return;
      try {
        return await connect();
      } catch (error) {
        options.onError(error instanceof Error ? error : new Error(String(error)));
      }
    }
  };

  try {
    await connect();
  } catch (error) {
    stop.abort();
    throw databaseFault(error);
  }
  return async () => {
    stop.abort();
    await connection?.end();
  };
}
