import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { BulkheadError, placementOf } from '@bulkhead/contract';
import type { Authenticate } from '../auth/authenticator.js';
import { credentialsOf } from '../auth/credentials.js';
import { DOORS } from '../auth/doors.js';
import { asMember, refusal } from '../auth/principal.js';
import type { Caller, Principal } from '../auth/principal.js';
import type { ApiDeps } from '../deps.js';
import { publicError } from '../graphql/errors.js';
import { parseStrictJson } from '../graphql/strict-json.js';
import { isOwnOrigin } from '../graphql/upgrade.js';
import { sessionToken } from '../sign-in/cookie.js';
import { findSession } from '../sign-in/sessions.js';
import { takeJsonPostsOnly } from '../graphql/json-posts.js';
import { CallerRate } from '../graphql/caller-rate.js';
import { payloadsOf, wireOf } from './wire-payloads.js';

/** Bytes of one request at most: results of several activities fit, in base64. */
const BODY_BYTES_MAX = 4 * 1024 * 1024;

export interface CodecDoor extends Pick<
  ApiDeps,
  'control' | 'door' | 'journal' | 'log' | 'payloads' | 'settings'
> {
  readonly authenticate: Authenticate;
}

/**
 * The codec server of Temporal UI and the Temporal CLI: POST /codec/decode opens payloads of the caller's own tenant.
 * Who asks, for which namespace and from which page is settled before the body is read. No answer carries a CORS header:
 * Temporal UI stands behind the same origin, and no other page may read what this tells.
 */
export async function openCodecDoor(server: FastifyInstance, door: CodecDoor): Promise<void> {
  await server.register(async (scope) => {
    const callers = new WeakMap<FastifyRequest, Principal>();
    const rate = new CallerRate(door.settings.decodesPerMinute);
    scope.setErrorHandler((error, _request, reply) => refuse(reply, error, door));
    takeJsonPostsOnly(scope, '/codec/decode');
    scope.post('/codec/decode', {
      bodyLimit: BODY_BYTES_MAX,
      onRequest: async (request) => {
        const principal = await callerOf(request, door);
        // before the body is read and before anything is journalled: both are bounded by it
        rate.take(`${principal.tenantId} ${principal.responsible}`);
        callers.set(request, principal);
      },
      handler: async (request, reply) => {
        const principal = callers.get(request);
        if (!principal) throw new BulkheadError('INTERNAL', { internal: 'a decode without a caller' });
        if (typeof request.body !== 'string') throw new BulkheadError('UNSUPPORTED_MEDIA_TYPE');
        const opened = await decode(principal, request.body, door);
        return reply.header('cache-control', 'no-store').send(opened);
      },
    });
  });
}

/** @throws BulkheadError FORBIDDEN, UNAUTHENTICATED, NOT_FOUND: the last for each namespace but the own one, existing or not. */
async function callerOf(request: FastifyRequest, door: CodecDoor): Promise<Principal> {
  const { headers } = request;
  if (!isOwnOrigin(headers.origin, door.settings.publicUrl))
    throw new BulkheadError('FORBIDDEN', { internal: 'another origin' });
  const caller = await (headers.authorization === undefined
    ? viewerOf(request, door)
    : door.authenticate(credentialsOf(headers)));
  if (!caller.can(DOORS['/codec/decode'].needs)) throw refusal(caller);
  const principal = asMember(caller);
  if (headers['x-namespace'] !== placementOf(principal.tenantId).namespace)
    throw new BulkheadError('NOT_FOUND', { field: 'x-namespace' });
  return principal;
}

/** Whoever is signed in to Temporal UI. A browser names the origin of each POST; without one, it is no page of ours that asks. */
async function viewerOf({ headers }: FastifyRequest, door: CodecDoor): Promise<Caller> {
  const token = headers.origin === undefined ? undefined : sessionToken(headers.cookie);
  const viewer = token === undefined ? undefined : await findSession(door.control, token);
  if (!viewer) throw new BulkheadError('UNAUTHENTICATED');
  return viewer;
}

/** The record is committed before anything is told, also of a request that was refused. */
async function decode(principal: Principal, body: string, door: CodecDoor): Promise<object> {
  const { tenantId, actor } = principal;
  const payloads = payloadsOf(parseStrictJson(body, 'body'));
  const opened = await door.payloads.decode(tenantId, payloads).catch((error: unknown) => {
    if (error instanceof BulkheadError) return error;
    throw error;
  });
  const refused = opened instanceof BulkheadError ? opened.code : undefined;
  await door.journal.noteDecode(door.door.tenant(tenantId), { actor, payloads: payloads.length, refused });
  if (opened instanceof BulkheadError) throw opened;
  return wireOf(opened);
}

const STATUS: Readonly<Record<string, number>> = {
  BAD_USER_INPUT: 400,
  REFUSED: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  TENANT_SUSPENDED: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  GONE: 410,
  PAYLOAD_TOO_LARGE: 413,
  TOO_MANY_REQUESTS: 429,
  UNSUPPORTED_MEDIA_TYPE: 415,
  UNAVAILABLE: 503,
};

function refuse(reply: FastifyReply, error: unknown, { log }: CodecDoor): FastifyReply {
  const tooLarge = error instanceof Error && Reflect.get(error, 'statusCode') === 413;
  const publicMessage = 'A request to decode may have 4 MiB.';
  const shown = publicError(
    tooLarge ? new BulkheadError('PAYLOAD_TOO_LARGE', { field: 'body', publicMessage }) : error,
    log,
  );
  const { retryAfterSeconds } = shown.extensions;
  if (retryAfterSeconds !== undefined) reply.header('retry-after', String(retryAfterSeconds));
  return reply
    .code(STATUS[shown.extensions.code] ?? 500)
    .header('content-type', 'application/json; charset=utf-8')
    .header('cache-control', 'no-store')
    .send(JSON.stringify({ error: { message: shown.message, ...shown.extensions } }));
}
