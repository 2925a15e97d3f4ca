import { Module } from '@nestjs/common';
import { SignInController } from './sign-in.controller.js';
import { SignInResolver } from './sign-in.resolver.js';

@Module({ providers: [SignInResolver], controllers: [SignInController] })
export class SignInModule {}
