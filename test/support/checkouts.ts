import pg from 'pg';

export interface CheckoutWatch {
  /** Checkouts looked at so far. */
  seen(): number;
  /** What was found on a connection at the moment at which the pool handed it out. */
  stale(): string[];
  stop(): void;
}

/**
 * Looks at every connection that any pool of this process hands out: the question is queued in front of the caller's
 * own first query, so it sees what the caller would find.
 */
export function watchCheckouts(): CheckoutWatch {
  const original = pg.Pool.prototype.emit;
  const stale: string[] = [];
  let seen = 0;
  pg.Pool.prototype.emit = function emit(this: pg.Pool, event: string | symbol, ...args: unknown[]): boolean {
    const [client] = args;
    if (event === 'acquire' && client instanceof pg.Client && client.user === 'bulkhead_app') {
      client
        .query("SELECT current_setting('app.tenant', true) AS tenant, txid_current_if_assigned() AS tx")
        .then(
          ({ rows: [row] }) => {
            seen += 1;
            if (row?.tenant || row?.tx) stale.push(`a checkout found ${JSON.stringify(row)}`);
          },
          () => undefined, // the backend was killed; whoever got the connection is told
        );
    }
    return Reflect.apply(original, this, [event, ...args]) as boolean;
  };
  return {
    seen: () => seen,
    stale: () => stale,
    stop: () => {
      pg.Pool.prototype.emit = original;
    },
  };
}
