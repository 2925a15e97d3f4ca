import 'reflect-metadata';
import type { LoggerService, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { GraphQLSchema } from 'graphql';
import 'mercurius'; // adds `graphql` to Fastify's types
import type { Logger } from 'pino';
import { ApiModule } from './api.module.js';
import { AccessFeed } from './auth/access-feed.js';
import { AUTHENTICATE } from './auth/auth.tokens.js';
import type { Authenticate } from './auth/authenticator.js';
import type { ApiDeps } from './deps.js';
import { openCodecDoor } from './codec/codec-door.js';
import { openHttpDoor } from './graphql/http-door.js';
import { RefusalLimit } from './graphql/refusal-limit.js';
import { openSocketDoor } from './graphql/socket-door.js';

export { PermissionCheck } from './auth/permission-check.js';
export { composeApi } from './compose.js';
export type { ApiDeps } from './deps.js';

/** Bytes of a request at most; a larger one is answered with PAYLOAD_TOO_LARGE before it is read. */
const BODY_BYTES_MAX = 256 * 1024;

/** Milliseconds in which the headers, and the whole of a request, must have come in: a slow sender holds a connection. */
const HEADERS_MS = 10_000;
const REQUEST_MS = 15_000;

/** Builds the API without listening. It rejects when a handler declares no permission. */
export async function createApi(deps: ApiDeps, features?: readonly Type[]): Promise<NestFastifyApplication> {
  const adapter = new FastifyAdapter({
    bodyLimit: BODY_BYTES_MAX,
    // a HEAD request must not use up a sign-in link
    exposeHeadRoutes: false,
    // URLs can carry sign-in tokens and are therefore not logged
    logger: false,
    routerOptions: { maxParamLength: 1024 },
    requestTimeout: REQUEST_MS,
    http: {
      headersTimeout: HEADERS_MS,
      connectionsCheckingInterval: 1_000,
      // an upgrade of anything else is served as if it were not asked for
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
    },
  });
  const app = await NestFactory.create<NestFastifyApplication>(ApiModule.over(deps, features), adapter, {
    logger: nestLogger(deps.log),
    abortOnError: false,
    forceCloseConnections: true,
  });
  adapter.getInstance().addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
    reply.header('x-frame-options', 'SAMEORIGIN');
    if (!reply.hasHeader('referrer-policy')) reply.header('referrer-policy', 'no-referrer');
  });
  await app.init().catch(async (error: unknown) => {
    await app.close(); // what has begun to listen before must not stay
    throw error;
  });
  const server = adapter.getInstance();
  const { log, settings } = deps;
  const refusals = new RefusalLimit(settings.refusalsPerMinute);
  const door = { authenticate: app.get<Authenticate>(AUTHENTICATE), log, settings, refusals };
  await openHttpDoor(server, door);
  await openCodecDoor(server, { ...deps, ...door });
  const schema = (): GraphQLSchema => server.graphql.schema;
  const closeSockets = openSocketDoor(server.server, { ...door, schema, accessFeed: app.get(AccessFeed) });
  server.addHook('preClose', closeSockets);
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
