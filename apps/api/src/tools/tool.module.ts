import { Module } from '@nestjs/common';
import { ToolResolver } from './tool.resolver.js';
import { ToolService } from './tool.service.js';

@Module({ providers: [ToolResolver, ToolService] })
export class ToolModule {}
