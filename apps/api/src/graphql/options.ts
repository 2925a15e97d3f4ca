import { MercuriusDriver } from '@nestjs/mercurius';
import type { MercuriusDriverConfig } from '@nestjs/mercurius';
import type { FastifyRequest } from 'fastify';
import { specifiedRules, validate } from 'graphql';
import type { DocumentNode, GraphQLSchema } from 'graphql';
import type { Logger } from 'pino';
import type { RequestContext } from '../auth/principal.js';
import { publicError, publicErrors } from './errors.js';
import { checkSource, costRule } from './limits.js';

/** Mercurius, code first, with one error format for HTTP and websockets. */
export function graphqlOptions(log: Logger): MercuriusDriverConfig & { driver: typeof MercuriusDriver } {
  return {
    driver: MercuriusDriver,
    path: '/graphql',
    autoSchemaFile: true,
    sortSchema: true,
    graphiql: false,
    jit: 1,
    validationRules: [costRule],
    context: (request: FastifyRequest): RequestContext => ({ authorization: request.headers.authorization }),
    errorFormatter: (execution) => {
      const errors = (execution.errors ?? []).flatMap((error) => publicErrors(error, log));
      return {
        statusCode: statusOf(errors, execution.data),
        response: { data: execution.data ?? null, errors },
      };
    },
    subscription: {
      keepAlive: 20_000,
      // the key is checked when a subscription starts: there the refusal is a typed error, here only a closed socket
      onConnect: (data: { payload?: Record<string, unknown> }) => {
        const given = data.payload?.authorization ?? data.payload?.Authorization;
        return { authorization: typeof given === 'string' ? given : undefined } satisfies RequestContext;
      },
    },
    hooks: {
      preParsing: (_schema: GraphQLSchema, source: string) => checkSource(source),
      preSubscriptionParsing: (_schema: GraphQLSchema, source: string) =>
        checkPublicly(() => checkSource(source), log),
      // Mercurius does not validate documents of subscriptions
      preSubscriptionExecution: (schema: GraphQLSchema, document: DocumentNode) => {
        const [first] = validate(schema, document, [...specifiedRules, costRule]);
        if (first) throw publicError(first, log);
      },
    },
  };
}

/** Over a websocket Mercurius sends what was thrown as it is, so it must be public already. */
function checkPublicly(check: () => void, log: Logger): void {
  try {
    check();
  } catch (error) {
    throw publicError(error, log);
  }
}

function statusOf(errors: readonly { extensions: { code?: unknown } }[], data: unknown): number {
  if (data !== undefined && data !== null) return 200;
  const codes = new Set(errors.map((error) => error.extensions.code));
  if (codes.has('PAYLOAD_TOO_LARGE')) return 413;
  if (codes.has('UNAUTHENTICATED')) return 401;
  return 200;
}
