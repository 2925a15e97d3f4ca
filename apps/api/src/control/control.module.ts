import { Module } from '@nestjs/common';
import { ControlResolver } from './control.resolver.js';
import { ControlService } from './control.service.js';

@Module({ providers: [ControlResolver, ControlService] })
export class ControlModule {}
