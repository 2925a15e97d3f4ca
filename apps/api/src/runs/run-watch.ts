import { Inject, Injectable } from '@nestjs/common';
import { TERMINAL_RUN_STATES } from '@bulkhead/contract';
import type { Run } from '@bulkhead/runs/admin';
import { AccessFeed } from '../auth/access-feed.js';
import { AUTHENTICATE } from '../auth/auth.tokens.js';
import { authenticateAgain } from '../auth/authenticator.js';
import type { Authenticate } from '../auth/authenticator.js';
import type { Credentials, Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { publicError } from '../graphql/errors.js';
import { RunFeed } from './run-feed.js';
import { RunService } from './run.service.js';

/** A run is read again this often even without a hint, because hints can be lost. */
const REREAD_MS = 15_000;

@Injectable()
export class RunWatch {
  constructor(
    @Inject(RunService) private readonly runs: Pick<RunService, 'get'>,
    @Inject(RunFeed) private readonly feed: Pick<RunFeed, 'watch'>,
    @Inject(AccessFeed) private readonly access: Pick<AccessFeed, 'watch'>,
    @Inject(AUTHENTICATE) private readonly authenticate: Authenticate,
    @Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'log'>,
  ) {}

  /** @throws BulkheadError NOT_FOUND before anything is streamed, the same for foreign and unknown ids. */
  async open(
    principal: Principal,
    id: string,
    credentials: Credentials,
  ): Promise<AsyncIterableIterator<Run>> {
    const wake = new Wake();
    // watch first, read second: a change in between is a hint that is kept
    const unwatchRun = this.feed.watch(id, () => wake.call());
    const unwatchAccess = this.access.watch(principal, () => wake.call());
    const unwatch = (): void => {
      unwatchRun();
      unwatchAccess();
    };
    try {
      const first = await this.runs.get(principal, id);
      const again = async (): Promise<Run> => {
        const now = await authenticateAgain(this.authenticate, credentials, principal, 'run:read');
        return this.runs.get(now, id);
      };
      return this.stream(first, again, wake, unwatch);
    } catch (error) {
      unwatch();
      throw error;
    }
  }

  private stream(
    first: Run,
    again: () => Promise<Run>,
    wake: Wake,
    unwatch: () => void,
  ): AsyncIterableIterator<Run> {
    const changes = this.changes(first, again, wake, unwatch);
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

  private async *changes(
    first: Run,
    again: () => Promise<Run>,
    wake: Wake,
    unwatch: () => void,
  ): AsyncGenerator<Run, undefined> {
    try {
      let shown = '';
      for (let run = first; ; run = await again()) {
        const now = JSON.stringify([run.state, run.reason]);
        if (now !== shown) yield run;
        shown = now;
        if ((TERMINAL_RUN_STATES as readonly string[]).includes(run.state)) return undefined;
        if (!(await wake.wait(REREAD_MS))) return undefined;
      }
    } catch (error) {
      throw publicError(error, this.deps.log); // over a websocket it would be sent as it is
    } finally {
      unwatch();
    }
  }
}

/** A latch: a call that comes while nobody waits ends the next wait at once. */
class Wake {
  private called = false;
  private closed = false;
  private resume: (() => void) | undefined;

  call(): void {
    this.called = true;
    this.resume?.();
  }

  close(): void {
    this.closed = true;
    this.resume?.();
  }

  /** false: the watcher is gone. */
  async wait(timeoutMs: number): Promise<boolean> {
    if (!this.called && !this.closed) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, timeoutMs);
      this.resume = resolve;
      await promise;
      clearTimeout(timer);
    }
    this.called = false;
    return !this.closed;
  }
}
