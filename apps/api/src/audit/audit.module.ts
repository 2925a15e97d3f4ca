import { Module } from '@nestjs/common';
import { AuditResolver } from './audit.resolver.js';
import { ContentReads } from './content-reads.js';

@Module({ providers: [AuditResolver, ContentReads], exports: [ContentReads] })
export class AuditModule {}
