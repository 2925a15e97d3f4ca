import { Inject, Injectable } from '@nestjs/common';
import { AccessFeed } from '../auth/access-feed.js';
import { AUTHENTICATE } from '../auth/auth.tokens.js';
import { authenticateAgain } from '../auth/authenticator.js';
import type { Authenticate } from '../auth/authenticator.js';
import type { Credentials, Principal } from '../auth/principal.js';
import type { Permission } from '../auth/roles.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { publicError } from '../graphql/errors.js';
import { Wake } from './wake.js';

/** It is read again this often even without a hint, because hints can be lost. */
export const REREAD_MS = 15_000;

/** Something that is streamed: what it is now, then each change. */
export interface Watched<State, Event> {
  readonly needs: Permission;
  /** Calls `onHint` when it may have changed, until the returned function is called. */
  watch(onHint: () => void): () => void;
  /** What it is now; `before` is what it was. What this throws ends the stream. */
  read(principal: Principal, before: State | undefined): Promise<State>;
  /** What the reader takes one by one: `reader` says who that is by then, and throws when they may not read any more. */
  events(
    now: State,
    before: State | undefined,
    reader: () => Promise<Principal>,
  ): Iterable<Event> | AsyncIterable<Event>;
  /** Milliseconds until it is read again without a hint; undefined: there will be no more events. */
  rereadMs(now: State): number | undefined;
}

/** Events of what is told as a whole, whenever what is shown of it is another. */
export const whenChanged =
  <State>(shownOf: (state: State) => string) =>
  (now: State, before: State | undefined): readonly State[] =>
    before !== undefined && shownOf(before) === shownOf(now) ? [] : [now];

/** Streams of one caller. Who they are is asked anew before each read, and at once when who may act has changed. */
@Injectable()
export class Watch {
  constructor(
    @Inject(AccessFeed) private readonly access: Pick<AccessFeed, 'watch'>,
    @Inject(AUTHENTICATE) private readonly authenticate: Authenticate,
    @Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'log'>,
  ) {}

  /** @throws whatever the first read throws, before anything is streamed */
  async open<State, Event>(
    principal: Principal,
    credentials: Credentials,
    watched: Watched<State, Event>,
  ): Promise<AsyncIterableIterator<Event>> {
    const wake = new Wake();
    // watch first, read second: a change in between is a hint that is kept
    const unwatchIt = watched.watch(() => wake.call());
    const reader = this.reader(principal, credentials, watched.needs);
    const unwatchAccess = this.access.watch(principal, () => {
      reader.doubt();
      wake.call();
    });
    const unwatch = (): void => {
      unwatchIt();
      unwatchAccess();
    };
    try {
      const first = await watched.read(principal, undefined);
      return stream(this.changes(watched, first, reader, wake, unwatch), wake, unwatch);
    } catch (error) {
      unwatch();
      throw error;
    }
  }

  private reader(principal: Principal, credentials: Credentials, needs: Permission): Reader {
    let known = principal;
    let doubted = false;
    const ask = async (): Promise<Principal> => {
      doubted = false;
      known = await authenticateAgain(this.authenticate, credentials, principal, needs);
      return known;
    };
    return {
      ask,
      current: async () => (doubted ? ask() : known),
      doubt: () => {
        doubted = true;
      },
    };
  }

  private async *changes<State, Event>(
    watched: Watched<State, Event>,
    first: State,
    reader: Reader,
    wake: Wake,
    unwatch: () => void,
  ): AsyncGenerator<Event, undefined> {
    try {
      let before: State | undefined;
      for (let now = first; ; now = await watched.read(await reader.ask(), now)) {
        yield* watched.events(now, before, reader.current);
        const rereadMs = watched.rereadMs(now);
        if (rereadMs === undefined || !(await wake.wait(rereadMs))) return undefined;
        before = now;
      }
    } catch (error) {
      throw publicError(error, this.deps.log); // over a websocket it would be sent as it is
    } finally {
      unwatch();
    }
  }
}

/** Whose stream it is. */
interface Reader {
  /** @throws BulkheadError when they may not read any more */
  readonly ask: () => Promise<Principal>;
  /** Asks only if that has been in doubt since. @throws as `ask` does */
  readonly current: () => Promise<Principal>;
  readonly doubt: () => void;
}

function stream<Event>(
  changes: AsyncGenerator<Event, undefined>,
  wake: Wake,
  unwatch: () => void,
): AsyncIterableIterator<Event> {
  return {
    next: () => changes.next(),
    // a generator that waits cannot be returned from: the wait has to end first
    return: async () => {
      wake.close();
      unwatch();
      return changes.return(undefined);
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}
