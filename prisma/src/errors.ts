import { BulkheadError } from '@bulkhead/contract';

/** Connection lost or refused, server shutting down or starting, too many connections: the database, not the query. */
const UNAVAILABLE =
  /^(ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|08\w{3}|57P0[123]|53300|P1001|P1002|P1008|P1017|P2024|P2028)$/;

/** Raised by our own triggers: the tenant takes no work. */
const TENANT_STOPPED = 'BH001';

/** Turns "the database is away" into the typed fault; every other error passes as it is. */
export function databaseFault(error: unknown): unknown {
  for (let at: unknown = error, depth = 0; at instanceof Object && depth < 5; depth += 1) {
    const code: unknown = Reflect.get(at, 'code') ?? Reflect.get(at, 'originalCode');
    const message = at instanceof Error ? at.message : '';
    if (typeof code === 'string' && UNAVAILABLE.test(code)) return unavailable(error);
    if (code === TENANT_STOPPED) return new BulkheadError('TENANT_SUSPENDED', { cause: error });
    if (
      /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error/.test(
        message,
      )
    ) {
      return unavailable(error);
    }
    at = Reflect.get(at, 'cause') ?? adapterErrorOf(at);
  }
  return error;
}

/** Where Prisma keeps what the driver said of an error that has no code of Prisma's own. */
const adapterErrorOf = (error: object): unknown =>
  Reflect.get(Object(Reflect.get(error, 'meta')) as object, 'driverAdapterError');

function unavailable(cause: unknown): BulkheadError {
  return new BulkheadError('DATABASE_UNAVAILABLE', { internal: 'PostgreSQL does not answer', cause });
}
