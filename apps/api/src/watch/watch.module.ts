import { Global, Module } from '@nestjs/common';
import { TenantFeed } from './tenant-feed.js';
import { Watch } from './watch.js';

@Global()
@Module({ providers: [TenantFeed, Watch], exports: [TenantFeed, Watch] })
export class WatchModule {}
