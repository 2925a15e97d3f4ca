import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';
import { credentialsOf } from '../auth/credentials.js';
import type { RequestContext } from '../auth/principal.js';
import type { GraphqlDoor } from './door.js';
import { publicErrors } from './errors.js';
import type { PublicError } from './errors.js';
import { takeJsonPostsOnly } from './json-posts.js';
import { parseStrictJson } from './strict-json.js';

/** Lists, so a batch of requests in one body is refused, are no object. */
const Request = z.object({
  query: z.string(),
  variables: z.record(z.string(), z.unknown()).nullish(),
  operationName: z
    .string()
    .regex(/^[_A-Za-z]\w{0,127}$/)
    .nullish(),
});
type Request = z.infer<typeof Request>;

/**
 * /graphql over HTTP: POST with `application/json` only. A page of another site can send no such request without asking
 * first, and is never told yes; forms, plain text and GET carry nothing out.
 */
export async function openHttpDoor(server: FastifyInstance, door: GraphqlDoor): Promise<void> {
  const { log, refusals } = door;
  await server.register(async (scope) => {
    // what arose while answering comes as a result; what comes here was not carried out
    scope.setErrorHandler((error, request, reply) => {
      const errors = publicErrors(error, log);
      refusals.note(request.headers.authorization, errors);
      return answer(reply, null, errors);
    });
    takeJsonPostsOnly(scope, '/graphql');
    scope.post('/graphql', {
      onRequest: async ({ headers }) => refusals.expectLeft(headers.authorization),
      handler: async (request, reply) => {
        // a request without any body has no type either, and is not parsed
        if (typeof request.body !== 'string') throw new BulkheadError('UNSUPPORTED_MEDIA_TYPE');
        const result = await inTime(execute(server, request, request.body, door), door.settings.requestMs);
        return answer(reply, result.data ?? null, result.errors as PublicError[] | undefined);
      },
    });
  });
}

/** Identity first: nothing of a stranger's document is looked at. */
async function execute(
  server: FastifyInstance,
  http: FastifyRequest,
  body: string,
  { authenticate, settings, refusals }: GraphqlDoor,
): ReturnType<FastifyInstance['graphql']> {
  const credentials = credentialsOf(http.headers);
  const caller = await authenticate(credentials);
  // again: of many that came at once the first may have used up what was left
  refusals.expectLeft(credentials.authorization);
  const request = parse(body);
  if (settings.documents && !settings.documents.has(request.query))
    throw new BulkheadError('DOCUMENT_NOT_LISTED', { field: 'query' });
  const operationName = request.operationName ?? undefined;
  const context: RequestContext = { ...credentials, caller: Promise.resolve(caller), operationName };
  return server.graphql(
    sourceOf(request),
    context as unknown as Record<string, unknown>,
    request.variables ?? {},
    operationName,
  );
}

/** @throws BulkheadError BAD_INPUT */
function parse(body: string): Request {
  const parsed = Request.safeParse(parseStrictJson(body, 'body'));
  if (parsed.success) return parsed.data;
  const field = parsed.error.issues[0]?.path.join('.') || 'body';
  throw new BulkheadError('BAD_INPUT', {
    field,
    publicMessage: 'The request is not a GraphQL request in JSON.',
  });
}

/**
 * Mercurius keeps what it compiled under the text alone, so of two operations in one document the one that was asked
 * first would be answered for both. With the name in a comment each has a text of its own.
 */
const sourceOf = ({ query, operationName }: Request): string =>
  operationName ? `${query}\n#${operationName}` : query;

/** @throws BulkheadError REQUEST_TIMEOUT; the work itself goes on until the database's own limits end it. */
async function inTime<T>(work: Promise<T>, limitMs: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new BulkheadError('REQUEST_TIMEOUT', { internal: `no answer in ${limitMs} ms` })),
    limitMs,
  );
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

const STATUS: Readonly<Record<string, number>> = {
  PAYLOAD_TOO_LARGE: 413,
  UNAUTHENTICATED: 401,
  UNSUPPORTED_MEDIA_TYPE: 415,
  METHOD_NOT_ALLOWED: 405,
  TOO_MANY_REQUESTS: 429,
};

function answer(
  reply: FastifyReply,
  data: Record<string, unknown> | null,
  errors: readonly PublicError[] | undefined,
): FastifyReply {
  const status = data === null && errors?.map(({ extensions }) => STATUS[extensions.code]).find(Number);
  const retryAfterSeconds = errors?.[0]?.extensions.retryAfterSeconds;
  if (status === 429 && retryAfterSeconds !== undefined)
    reply.header('retry-after', String(retryAfterSeconds));
  return reply
    .code(status || 200)
    .header('content-type', 'application/json; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(JSON.stringify(errors ? { data, errors } : { data }));
}
