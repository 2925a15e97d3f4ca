import type { FastifyInstance } from 'fastify';
import { BulkheadError } from '@bulkhead/contract';

/**
 * Makes a path one that takes POST with `application/json` only, and hands the body over as text, unparsed. A page of
 * another site can send no such request without asking first, and is never told yes. The POST itself is the caller's.
 */
export function takeJsonPostsOnly(scope: FastifyInstance, url: string): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => {
    done(null, body);
  });
  scope.route({
    method: ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    url,
    onRequest: async (_request, reply) => {
      reply.header('allow', 'POST');
      throw new BulkheadError('METHOD_NOT_ALLOWED');
    },
    handler: () => undefined,
  });
}
