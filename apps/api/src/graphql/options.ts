import { MercuriusDriver } from '@nestjs/mercurius';
import type { MercuriusDriverConfig } from '@nestjs/mercurius';
import type { FastifyRequest } from 'fastify';
import { specifiedRules, validate } from 'graphql';
import type { DocumentNode, GraphQLSchema } from 'graphql';
import type { Logger } from 'pino';
import type { RequestContext } from '../auth/principal.js';
import { publicError, publicErrors } from './errors.js';
import { checkCost } from './cost.js';
import { checkDocument } from './document-limits.js';
import { checkSource } from './source-limits.js';

/** Names near a wrong one would tell the schema; and nobody reads a hundred complaints. */
const VALIDATION = { hideSuggestions: true, maxErrors: 10 };

/** Mercurius, code first, with one error format for HTTP and websockets. */
export function graphqlOptions(
  log: Logger,
  introspection: boolean,
): MercuriusDriverConfig & { driver: typeof MercuriusDriver } {
  return {
    driver: MercuriusDriver,
    path: '/graphql',
    autoSchemaFile: true,
    sortSchema: true,
    graphiql: false,
    cache: 100,
    jit: 1,
    graphql: { validateOptions: VALIDATION },
    context: ({ headers }: FastifyRequest): RequestContext => ({
      authorization: headers.authorization,
      tenant: one(headers['x-bulkhead-tenant']),
    }),
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
        const tenant = data.payload?.['x-bulkhead-tenant'];
        return {
          authorization: typeof given === 'string' ? given : undefined,
          tenant: typeof tenant === 'string' ? tenant : undefined,
        } satisfies RequestContext;
      },
    },
    hooks: {
      preParsing: (_schema: GraphQLSchema, source: string) => checkSource(source),
      preValidation: (_schema: GraphQLSchema, document: DocumentNode) =>
        checkDocument(document, introspection),
      preExecution: (schema, document, _context, variables) => checkCost(schema, document, variables ?? {}),
      preSubscriptionParsing: (_schema: GraphQLSchema, source: string) =>
        checkPublicly(() => checkSource(source), log),
      // Mercurius does not validate documents of subscriptions
      preSubscriptionExecution: (schema: GraphQLSchema, document: DocumentNode) => {
        checkPublicly(() => checkDocument(document, introspection), log);
        const [first] = validate(schema, document, specifiedRules, VALIDATION);
        if (first) throw publicError(first, log);
      },
    },
  };
}

/** A header that was sent twice says nothing. */
const one = (header: string | string[] | undefined): string | undefined =>
  typeof header === 'string' ? header : undefined;

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
