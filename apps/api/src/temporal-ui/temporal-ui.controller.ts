import { json as readJson } from 'node:stream/consumers';
import { All, Controller, Inject, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { placementOf } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { Public } from '../auth/permission.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { sessionToken } from '../sign-in/cookie.js';
import { sendPage } from '../sign-in/pages.js';
import { findSession } from '../sign-in/sessions.js';
import { forward } from './forward.js';
import type { ForwardAnswer } from './forward.js';
import { routeOf } from './route.js';
import type { UiRoute } from './route.js';

type Passed = Exclude<UiRoute, { kind: 'refused' }>;

/**
 * Temporal UI behind our own door: read only, and each person sees their own tenant's namespace, operators of the platform
 * all of them.
 */
@Controller()
export class TemporalUiController {
  constructor(
    @Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'control' | 'readTokens' | 'settings'>,
  ) {}

  @All(['temporal', 'temporal/*'])
  @Public('the session cookie is checked inside')
  async show(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const base = this.deps.settings.uiAddress;
    if (base === undefined) return sendPage(reply, 404, 'This installation has no Temporal UI.');
    const viewer = await findSession(this.deps.control, sessionToken(request.headers.cookie) ?? '');
    if (!viewer) return sendPage(reply, 401, 'You are not signed in.');
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return refuse(reply, 405, 'This UI is read only.');

    const tenantId = viewer.kind === 'member' ? viewer.tenantId : undefined;
    const route = routeOf(request.raw.url ?? '', tenantId && placementOf(tenantId).namespace);
    if (route.kind === 'refused') return refuse(reply, 404, 'There is no such thing, or you may not see it.');
    const answer = await forward({
      base,
      method: request.method,
      path: route.path,
      headers: route.kind === 'namespaces' ? { accept: 'application/json' } : request.headers,
      token: await this.tokenFor(route, tenantId),
    });
    return route.kind === 'namespaces' ? sendOwnNamespace(reply, answer) : pass(reply, answer);
  }

  private async tokenFor(route: Passed, tenantId: TenantId | undefined): Promise<string | undefined> {
    if (route.kind === 'asset') return undefined;
    if (route.kind === 'system') return this.deps.readTokens.system();
    if (tenantId === undefined) throw new TypeError('a route of a tenant for nobody of one');
    return this.deps.readTokens.tenant(tenantId);
  }
}

async function pass(reply: FastifyReply, answer: ForwardAnswer): Promise<void> {
  await reply.code(answer.status).headers(answer.headers).send(answer.body);
}

/** The description of one namespace in the shape of a list. */
async function sendOwnNamespace(reply: FastifyReply, answer: ForwardAnswer): Promise<void> {
  if (answer.status !== 200) return pass(reply, answer);
  await reply
    .header('cache-control', 'no-store')
    .send({ namespaces: [await readJson(answer.body)], nextPageToken: '' });
}

/** In the shape of Temporal's own errors, which the UI shows. */
async function refuse(reply: FastifyReply, status: number, message: string): Promise<void> {
  await reply.code(status).header('cache-control', 'no-store').send({ code: 5, message, details: [] });
}
