import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';

/** Names of this machine itself; a local installation is opened under any of them. */
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);

/** Sockets that have not proved who they are yet, from one address and from all. */
export const STRANGERS_PER_ADDRESS = 50;
export const STRANGERS = 500;

/**
 * May a page under `origin` open a websocket? Only our own pages: browsers send the origin with each upgrade and let any
 * site open one. Clients that are no browser send none; what they may do their key says.
 */
export function isOwnOrigin(origin: string | undefined, publicUrl: string): boolean {
  if (origin === undefined) return true;
  const own = new URL(publicUrl);
  if (origin === own.origin) return true;
  if (!LOOPBACK.has(own.hostname) || !URL.canParse(origin)) return false;
  const other = new URL(origin);
  return LOOPBACK.has(other.hostname) && other.protocol === own.protocol && other.port === own.port;
}

/** Ends an upgrade that is refused. */
export function refuseUpgrade(
  socket: Duplex,
  status: '403 Forbidden' | '404 Not Found' | '429 Too Many Requests',
): void {
  socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
}

/** Counts sockets by address until they are somebody's. */
export class Strangers {
  private readonly byAddress = new Map<string, number>();
  private all = 0;

  /** undefined: too many already. Otherwise the function that counts this one out again; it may be called twice. */
  enter({ socket }: IncomingMessage): (() => void) | undefined {
    const address = socket.remoteAddress ?? '';
    const here = this.byAddress.get(address) ?? 0;
    if (here >= STRANGERS_PER_ADDRESS || this.all >= STRANGERS) return undefined;
    this.byAddress.set(address, here + 1);
    this.all += 1;
    let counted = true;
    return () => {
      if (!counted) return;
      counted = false;
      this.all -= 1;
      const left = (this.byAddress.get(address) ?? 1) - 1;
      if (left === 0) this.byAddress.delete(address);
      else this.byAddress.set(address, left);
    };
  }
}
