import { Catch, HttpException, Inject } from '@nestjs/common';
import type { ArgumentsHost, ExceptionFilter } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import type { GqlContextType } from '@nestjs/graphql';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { publicError } from './errors.js';

/** Turns what a handler threw into a public error at the handler, before any framework shows or logs it. */
@Catch()
export class PublicErrorsFilter implements ExceptionFilter {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'log'>) {}

  async catch(exception: unknown, host: ArgumentsHost): Promise<void> {
    if (host.getType<GqlContextType>() === 'graphql') throw publicError(exception, this.deps.log);
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    if (exception instanceof HttpException && exception.getStatus() < 500) {
      await reply
        .code(exception.getStatus())
        .send({ error: { code: 'NOT_FOUND', message: 'There is no such page.' } });
      return;
    }
    const { message, extensions } = publicError(exception, this.deps.log);
    await reply
      .code(extensions.code === 'UNAVAILABLE' ? 503 : 500)
      .send({ error: { message, ...extensions } });
  }
}
