import { Inject, Injectable } from '@nestjs/common';
import type { Credentials, Principal } from '../auth/principal.js';
import { TenantFeed } from '../watch/tenant-feed.js';
import { REREAD_MS, Watch, whenChanged } from '../watch/watch.js';
import { ControlService } from './control.service.js';
import type { ShownStop } from './control.service.js';

type Stops = readonly ShownStop[];

/** While a stop is on its way: hosts that break calls off tell nobody else. */
const ON_ITS_WAY_MS = 500;

@Injectable()
export class ControlWatch {
  constructor(
    @Inject(ControlService) private readonly control: Pick<ControlService, 'list'>,
    @Inject(TenantFeed) private readonly feed: Pick<TenantFeed, 'watch'>,
    @Inject(Watch) private readonly watch: Watch,
  ) {}

  open(principal: Principal, credentials: Credentials): Promise<AsyncIterableIterator<Stops>> {
    return this.watch.open<Stops, Stops>(principal, credentials, {
      needs: 'control:read',
      watch: (onHint) => this.feed.watch('stops', principal.tenantId, onHint),
      read: (now) => this.control.list(now, false),
      events: whenChanged(shownOf),
      rereadMs: (now) => (now.every(({ inForce }) => inForce) ? REREAD_MS : ON_ITS_WAY_MS),
    });
  }
}

const shownOf = (stops: Stops): string =>
  JSON.stringify(stops.map(({ id, end, inForce, waitingFor }) => [id, end, inForce, waitingFor]));
