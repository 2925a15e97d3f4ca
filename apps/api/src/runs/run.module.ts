import { Module } from '@nestjs/common';
import { RunFeed } from './run-feed.js';
import { RunWatch } from './run-watch.js';
import { RunResolver } from './run.resolver.js';
import { RunService } from './run.service.js';

@Module({ providers: [RunResolver, RunService, RunFeed, RunWatch] })
export class RunModule {}
