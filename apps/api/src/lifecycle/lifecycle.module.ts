import { Module } from '@nestjs/common';
import { LifecycleResolver } from './lifecycle.resolver.js';
import { LifecycleService } from './lifecycle.service.js';

@Module({ providers: [LifecycleResolver, LifecycleService] })
export class LifecycleModule {}
