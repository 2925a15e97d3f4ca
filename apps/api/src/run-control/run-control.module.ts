import { Module } from '@nestjs/common';
import { RunControlResolver } from './run-control.resolver.js';
import { RunControlService } from './run-control.service.js';

@Module({ providers: [RunControlResolver, RunControlService] })
export class RunControlModule {}
