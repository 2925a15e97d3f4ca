import { MercuriusDriver } from '@nestjs/mercurius';
import type { MercuriusDriverConfig } from '@nestjs/mercurius';
import { Kind, OperationTypeNode } from 'graphql';
import type { DocumentNode, GraphQLSchema } from 'graphql';
import type { Logger } from 'pino';
import { BulkheadError } from '@bulkhead/contract';
import type { RequestContext } from '../auth/principal.js';
import { publicErrors } from './errors.js';
import { checkCost } from './cost.js';
import { checkDocument } from './document-limits.js';
import { withDefaults } from './defaults.js';
import { checkSource } from './source-limits.js';
import { checkLiterals, checkVariables } from './texts.js';

/** Names near a wrong one would tell the schema; and nobody reads a hundred complaints. */
export const VALIDATION = { hideSuggestions: true, maxErrors: 10 };

/** Mercurius, code first: it parses, keeps and compiles documents, and executes them. */
export function graphqlOptions(
  log: Logger,
  introspection: boolean,
): MercuriusDriverConfig & { driver: typeof MercuriusDriver } {
  return {
    driver: MercuriusDriver,
    // http-door.ts and socket-door.ts have the routes: what may come in is decided there
    routes: false,
    autoSchemaFile: true,
    sortSchema: true,
    graphiql: false,
    cache: 100,
    jit: 1,
    graphql: { validateOptions: VALIDATION },
    errorFormatter: (execution) => {
      const errors = (execution.errors ?? []).flatMap((error) => publicErrors(error, log));
      return { statusCode: 200, response: { data: execution.data ?? null, errors } };
    },
    hooks: {
      preParsing: (_schema: GraphQLSchema, source: string) => checkSource(source),
      preValidation: (schema: GraphQLSchema, document: DocumentNode) => {
        checkDocument(document, introspection);
        checkLiterals(schema, document);
        refuseSubscriptions(document);
      },
      preExecution: (schema, document, context, given: Record<string, unknown>) => {
        checkVariables(schema, document, given);
        checkCost(schema, document, given);
        const { operationName } = context as unknown as RequestContext;
        return { variables: withDefaults(document, operationName, given) };
      },
    },
  };
}

/** Executed like a query, a subscription would skip the part where it is permitted. */
function refuseSubscriptions({ definitions }: DocumentNode): void {
  const found = definitions.some(
    (definition) =>
      definition.kind === Kind.OPERATION_DEFINITION &&
      definition.operation === OperationTypeNode.SUBSCRIPTION,
  );
  if (!found) return;
  throw new BulkheadError('BAD_INPUT', { field: 'query', publicMessage: 'Subscribe over a websocket.' });
}
