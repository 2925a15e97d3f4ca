import { Module } from '@nestjs/common';
import { ApprovalResolver } from './approval.resolver.js';
import { ApprovalService } from './approval.service.js';
import { ApprovalWatch } from './approval-watch.js';

@Module({ providers: [ApprovalResolver, ApprovalService, ApprovalWatch] })
export class ApprovalModule {}
