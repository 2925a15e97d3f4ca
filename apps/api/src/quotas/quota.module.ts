import { Module } from '@nestjs/common';
import { QuotaResolver } from './quota.resolver.js';
import { QuotaService } from './quota.service.js';

@Module({ providers: [QuotaResolver, QuotaService] })
export class QuotaModule {}
