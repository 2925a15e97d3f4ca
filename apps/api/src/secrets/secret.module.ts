import { Module } from '@nestjs/common';
import { SecretResolver } from './secret.resolver.js';
import { SecretService } from './secret.service.js';

@Module({ providers: [SecretResolver, SecretService] })
export class SecretModule {}
