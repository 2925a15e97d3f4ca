import { Inject, Injectable } from '@nestjs/common';
import { TERMINAL_RUN_STATES } from '@bulkhead/contract';
import type { Run } from '@bulkhead/runs/admin';
import type { Credentials, Principal } from '../auth/principal.js';
import { REREAD_MS, Watch, whenChanged } from '../watch/watch.js';
import { RunFeed } from './run-feed.js';
import { RunService } from './run.service.js';

@Injectable()
export class RunWatch {
  constructor(
    @Inject(RunService) private readonly runs: Pick<RunService, 'get'>,
    @Inject(RunFeed) private readonly feed: Pick<RunFeed, 'watch'>,
    @Inject(Watch) private readonly watch: Watch,
  ) {}

  /** @throws BulkheadError NOT_FOUND before anything is streamed, the same for foreign and unknown ids. */
  open(principal: Principal, id: string, credentials: Credentials): Promise<AsyncIterableIterator<Run>> {
    return this.watch.open<Run, Run>(principal, credentials, {
      needs: 'run:read',
      watch: (onHint) => this.feed.watch(id, onHint),
      read: (now) => this.runs.get(now, id),
      events: whenChanged(shownOf),
      rereadMs: ({ state }) =>
        (TERMINAL_RUN_STATES as readonly string[]).includes(state) ? undefined : REREAD_MS,
    });
  }
}

const shownOf = ({ state, reason }: Run): string => JSON.stringify([state, reason]);
