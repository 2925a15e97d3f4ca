import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { ApprovalResolver } from './approval.resolver.js';
import { ApprovalService } from './approval.service.js';
import { ApprovalWatch } from './approval-watch.js';

@Module({ imports: [AuditModule], providers: [ApprovalResolver, ApprovalService, ApprovalWatch] })
export class ApprovalModule {}
