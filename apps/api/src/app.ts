import 'reflect-metadata';
import type { LoggerService, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Logger } from 'pino';
import { ApiModule } from './api.module.js';
import type { ApiDeps } from './deps.js';

export { PermissionCheck } from './auth/permission-check.js';
export { composeApi } from './compose.js';
export type { ApiDeps } from './deps.js';

/** Bytes of a request at most; a larger one is answered with PAYLOAD_TOO_LARGE before it is read. */
const BODY_BYTES_MAX = 256 * 1024;

/** Builds the API without listening. It rejects when a handler declares no permission. */
export async function createApi(deps: ApiDeps, features?: readonly Type[]): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({
    bodyLimit: BODY_BYTES_MAX,
    // a HEAD request must not use up a sign-in link
    exposeHeadRoutes: false,
    // URLs can carry sign-in tokens and are therefore not logged
    logger: false,
    routerOptions: { maxParamLength: 1024 },
  });
  const app = await NestFactory.create<NestFastifyApplication>(ApiModule.over(deps, features), adapter, {
    logger: nestLogger(deps.log),
    abortOnError: false,
    forceCloseConnections: true,
  });
  adapter.getInstance().addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('x-frame-options', 'SAMEORIGIN');
    reply.header('referrer-policy', 'no-referrer');
  });
  await app.init();
  return app;
}

/** Nest's own lines, in our format; what it says while starting is of no use to anyone. */
function nestLogger(log: Logger): LoggerService {
  const text = (parts: readonly unknown[]): string => parts.map(String).join(' ');
  return {
    log: (...parts: unknown[]) => log.debug(text(parts)),
    debug: (...parts: unknown[]) => log.debug(text(parts)),
    verbose: (...parts: unknown[]) => log.trace(text(parts)),
    warn: (...parts: unknown[]) => log.warn(text(parts)),
    error: (...parts: unknown[]) => log.error(text(parts)),
  };
}
