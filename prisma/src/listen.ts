import pg from 'pg';
import { setTimeout as sleep } from 'node:timers/promises';
import { databaseFault } from './errors.js';

interface ListenOptions {
  readonly url: string;
  /** The connection broke, or an attempt to make a new one failed; another one follows. */
  readonly onError: (error: Error) => void;
}

/** A connection of its own that reconnects until it is stopped; the first connect must succeed. */
export async function listen(
  options: ListenOptions,
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
