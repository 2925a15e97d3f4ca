import { Module } from '@nestjs/common';
import { TenantKeyResolver } from './tenant-key.resolver.js';

@Module({ providers: [TenantKeyResolver] })
export class TenantKeyModule {}
