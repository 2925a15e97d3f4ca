import { getOperationAST, OperationTypeNode, parse, specifiedRules, subscribe, validate } from 'graphql';
import type { ExecutionArgs, ExecutionResult, GraphQLSchema } from 'graphql';
import { BulkheadError } from '@bulkhead/contract';
import type { Credentials, RequestContext } from '../auth/principal.js';
import type { ApiSettings } from '../deps.js';
import { checkCost } from './cost.js';
import { checkDocument } from './document-limits.js';
import { VALIDATION } from './options.js';
import { checkSource } from './source-limits.js';
import { checkLiterals, checkVariables } from './texts.js';

export interface SubscriptionRequest {
  readonly query: string;
  readonly variables?: Record<string, unknown> | null | undefined;
  readonly operationName?: string | null | undefined;
}

/**
 * The same steps as for a query over HTTP. The caller is not taken from the connection: each subscription asks anew.
 * @throws BulkheadError, GraphQLError (syntax), AggregateError (validation)
 */
export function prepareSubscription(
  schema: GraphQLSchema,
  { query, variables, operationName }: SubscriptionRequest,
  credentials: Credentials,
  settings: Pick<ApiSettings, 'documents' | 'introspection'>,
): ExecutionArgs {
  if (settings.documents && !settings.documents.has(query))
    throw new BulkheadError('DOCUMENT_NOT_LISTED', { field: 'query' });
  checkSource(query);
  const document = parse(query);
  checkDocument(document, settings.introspection);
  checkLiterals(schema, document);
  const errors = validate(schema, document, specifiedRules, VALIDATION);
  if (errors.length > 0) throw new AggregateError(errors);
  if (getOperationAST(document, operationName)?.operation !== OperationTypeNode.SUBSCRIPTION) {
    throw new BulkheadError('BAD_INPUT', {
      field: 'query',
      publicMessage: 'Over a websocket only subscriptions are answered; send others by POST.',
    });
  }
  checkVariables(schema, document, variables ?? {});
  checkCost(schema, document, variables ?? {});
  return {
    schema,
    document,
    rootValue: {},
    contextValue: { ...credentials } satisfies RequestContext,
    ...(variables ? { variableValues: variables } : {}),
    ...(operationName ? { operationName } : {}),
  };
}

/** The events of a subscription. What prevents it is thrown by the first `next`; `onEnd` is called once it is over. */
export async function openSubscription(
  args: ExecutionArgs,
  onEnd: () => void,
): Promise<AsyncIterableIterator<ExecutionResult>> {
  const events = await eventsOf(args);
  const over = <T>(value: T): T => {
    onEnd();
    return value;
  };
  const stream: AsyncIterableIterator<ExecutionResult> = {
    next: async () => {
      const step = await events.next().catch((error: unknown) => {
        throw over(error);
      });
      return step.done ? over(step) : step;
    },
    // called also when nothing was asked for yet, where a generator would not run its `finally`
    return: async () => over((await events.return?.(undefined)) ?? { done: true, value: undefined }),
    [Symbol.asyncIterator]: () => stream,
  };
  return stream;
}

async function eventsOf(args: ExecutionArgs): Promise<AsyncIterator<ExecutionResult, unknown>> {
  const failing = (errors: readonly unknown[]): AsyncIterator<ExecutionResult, unknown> => ({
    next: () => Promise.reject(new AggregateError(errors)),
  });
  try {
    const opened = await subscribe(args);
    if (!(Symbol.asyncIterator in opened)) return failing(opened.errors ?? []);
    return opened[Symbol.asyncIterator]();
  } catch (error) {
    return failing([error]);
  }
}
