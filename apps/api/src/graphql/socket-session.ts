import { CloseCode } from 'graphql-ws';
import { WebSocket } from 'ws';
import { BulkheadError } from '@bulkhead/contract';
import { refusal } from '../auth/principal.js';
import type { Caller, Credentials } from '../auth/principal.js';
import type { PublicError } from './errors.js';
import type { OpenCounts } from './open-counts.js';
import type { SocketDoor } from './door.js';

/** Bytes that wait for a reader who does not read. */
const BACKLOG_MAX = 1024 * 1024;
/** Milliseconds that a peer has to answer a close; until then its streams are open, but nothing is sent. */
const ANSWER_CLOSE_MS = 300;
/** Longest wait of a timer; an expiry beyond is looked at again then. */
const TIMER_MAX = 2 ** 31 - 1;

interface Owner {
  readonly caller: Caller;
  readonly credentials: Credentials;
}

/**
 * One websocket and whose it is. It ends when its proof does: at once when a change of who may act takes it away, and
 * when it expires.
 */
export class SocketSession {
  private current: Owner | undefined;
  private readonly undo: (() => void)[];
  private expiry: NodeJS.Timeout | undefined;
  private asking: Promise<void> | undefined;
  private askAgain = false;

  constructor(
    private readonly socket: WebSocket,
    private readonly leaveStrangers: () => void,
    private readonly door: Pick<SocketDoor, 'authenticate' | 'accessFeed' | 'refusals'>,
  ) {
    this.undo = [leaveStrangers, () => clearTimeout(this.expiry)];
  }

  /** Learns whose connection this is; one that is nobody's, or one too many, is closed. */
  async begin(credentials: Credentials, connections: OpenCounts): Promise<void> {
    try {
      this.door.refusals.expectLeft(credentials.authorization);
      const caller = await this.door.authenticate(credentials);
      this.undo.push(connections.take(caller));
      this.current = { caller, credentials };
      // watch first, ask second: a change in between is a hint that is heard
      this.undo.push(this.door.accessFeed.watch(caller, () => this.ask()));
      this.ask();
      this.expireAt(caller.expiresAt);
      this.leaveStrangers();
      if (this.socket.readyState !== WebSocket.OPEN) this.closed();
    } catch (error) {
      this.refuse(error);
    }
  }

  /** @throws BulkheadError UNAUTHENTICATED while it is nobody's */
  owner(): Owner {
    if (!this.current) throw new BulkheadError('UNAUTHENTICATED');
    return this.current;
  }

  /** Of a subscription. Who asks for too many that are refused is not listened to any longer. */
  noteRefusal(errors: readonly PublicError[]): void {
    const authorization = this.current?.credentials.authorization;
    this.door.refusals.note(authorization, errors);
    try {
      this.door.refusals.expectLeft(authorization);
    } catch (error) {
      this.refuse(error);
    }
  }

  /** Resolves when it has left, so that a stream has one message on its way and not all that it could say. */
  async send(text: string): Promise<void> {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > BACKLOG_MAX) return this.socket.terminate();
    const { promise, resolve } = Promise.withResolvers<void>();
    // an error says that the connection is gone, and its end ends the streams
    this.socket.send(text, () => resolve());
    await promise;
  }

  /** Says why and closes; a peer that does not answer is dropped. */
  end(code: number, reason: string): void {
    this.socket.close(code, reason);
    setTimeout(() => this.socket.terminate(), ANSWER_CLOSE_MS).unref();
  }

  /** Gives back what it held. Safe to call twice. */
  closed(): void {
    this.current = undefined;
    for (let step = this.undo.pop(); step !== undefined; step = this.undo.pop()) step();
  }

  /** Hints that come while one question is open are answered by one more. */
  private ask(): void {
    this.askAgain = true;
    this.asking ??= this.askAll().finally(() => {
      this.asking = undefined;
    });
  }

  private async askAll(): Promise<void> {
    while (this.askAgain && this.current) {
      this.askAgain = false;
      const { caller, credentials } = this.current;
      try {
        const now = await this.door.authenticate(credentials);
        if (now.kind === 'person' && now.refused !== undefined) throw refusal(now);
        if (!isSame(now, caller)) throw new BulkheadError('UNAUTHENTICATED');
        if (this.current) this.current = { caller: now, credentials };
        this.expireAt(now.expiresAt);
      } catch (error) {
        this.refuse(error);
        return;
      }
    }
  }

  private expireAt(expiresAt: Date | undefined): void {
    clearTimeout(this.expiry);
    if (!expiresAt || this.socket.readyState !== WebSocket.OPEN) return;
    const left = Math.max(expiresAt.getTime() - Date.now(), 0);
    this.expiry = setTimeout(
      () => (left > TIMER_MAX ? this.expireAt(expiresAt) : this.refuse(new BulkheadError('UNAUTHENTICATED'))),
      Math.min(left, TIMER_MAX),
    );
  }

  /** Also when nobody can say whether the proof still holds. */
  private refuse(error: unknown): void {
    const code = error instanceof BulkheadError ? error.code : 'INTERNAL';
    this.end(CLOSE_CODES[code] ?? TRY_AGAIN_LATER, code);
  }
}

const TRY_AGAIN_LATER = 1013;
const CLOSE_CODES: Readonly<Record<string, number>> = {
  UNAUTHENTICATED: CloseCode.Unauthorized,
  FORBIDDEN: CloseCode.Forbidden,
  TENANT_SUSPENDED: CloseCode.Forbidden,
  TOO_MANY_REQUESTS: CloseCode.TooManyInitialisationRequests,
  TOO_MANY_SUBSCRIPTIONS: CloseCode.TooManyInitialisationRequests,
};

const isSame = (now: Caller, before: Caller): boolean =>
  now.kind === before.kind &&
  now.actor === before.actor &&
  (now.kind !== 'member' || before.kind !== 'member' || now.tenantId === before.tenantId);
