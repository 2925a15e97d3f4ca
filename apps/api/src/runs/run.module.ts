import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { RunFeed } from './run-feed.js';
import { RunWatch } from './run-watch.js';
import { RunResolver } from './run.resolver.js';
import { RunService } from './run.service.js';

@Module({ imports: [AuditModule], providers: [RunResolver, RunService, RunFeed, RunWatch] })
export class RunModule {}
