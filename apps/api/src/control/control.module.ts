import { Module } from '@nestjs/common';
import { ControlResolver } from './control.resolver.js';
import { ControlService } from './control.service.js';
import { ControlWatch } from './control-watch.js';

@Module({ providers: [ControlResolver, ControlService, ControlWatch] })
export class ControlModule {}
