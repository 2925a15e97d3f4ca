import { Module } from '@nestjs/common';
import { PolicyResolver } from './policy.resolver.js';
import { PolicyService } from './policy.service.js';

@Module({ providers: [PolicyResolver, PolicyService] })
export class PolicyModule {}
