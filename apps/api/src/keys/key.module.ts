import { Module } from '@nestjs/common';
import { KeyResolver } from './key.resolver.js';
import { KeyService } from './key.service.js';

@Module({ providers: [KeyResolver, KeyService] })
export class KeyModule {}
