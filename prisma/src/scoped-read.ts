import pg from 'pg';
import type { TenantId } from '@bulkhead/contract';

/** A fixed text with a name of its own: prepared once per connection, never put together at run time. */
export interface ReadStatement {
  readonly name: string;
  readonly text: string;
}

/** Sets the tenant for the transaction it stands in, which from there on can only read. */
const SET_TENANT = {
  name: 'bulkhead_set_tenant',
  text: "SELECT set_config('app.tenant', $1, true), set_config('transaction_read_only', 'on', true)",
};

/** What pg's own Query does and its types leave out. */
interface PreparedQuery extends pg.Submittable {
  prepare(connection: WireConnection): void;
  handleDataRow(message: unknown): void;
  handleCommandComplete(message: unknown, connection: WireConnection): void;
}
interface WireConnection {
  bind(options: { statement: string; values: readonly string[] }): void;
  execute(options: object): void;
}

/** Prepares the first half of every read on a new connection, before anybody gets it. A pool's `verify`. */
export function prepareReads(client: pg.PoolClient, done: (error?: Error) => void): void {
  client.query({ ...SET_TENANT, values: [''] }, (error: Error | null) => done(error ?? undefined));
}

/**
 * One read of one tenant in one round trip. Both statements go out before one Sync, so PostgreSQL runs them in one
 * implicit transaction: the tenant is set in it, the read sees it, and it ends with it. An error in either skips the
 * rest. The planner and row level security do the same work as for any statement of the tenant door.
 */
export async function scopedRead<Row extends pg.QueryResultRow>(
  pool: pg.Pool,
  tenantId: TenantId,
  statement: ReadStatement,
  values: readonly unknown[],
): Promise<Row[]> {
  const query = new pg.Query(statement, [...values]) as unknown as PreparedQuery;
  const { prepare, handleDataRow, handleCommandComplete } = query;
  let tenantIsSet = false;
  query.prepare = (connection) => {
    connection.bind({ statement: SET_TENANT.name, values: [tenantId] });
    connection.execute({});
    prepare.call(query, connection);
  };
  // the first statement's row and end are not the caller's
  query.handleDataRow = (message) => {
    if (tenantIsSet) handleDataRow.call(query, message);
  };
  query.handleCommandComplete = (message, connection) => {
    if (tenantIsSet) handleCommandComplete.call(query, message, connection);
    tenantIsSet = true;
  };
  const result = (await pool.query(query)) as unknown as pg.QueryResult<Row>;
  return result.rows;
}
