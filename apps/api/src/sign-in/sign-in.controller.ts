import { Body, Controller, Get, Inject, Post, Query, Req, Res } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { placementOf } from '@bulkhead/contract';
import { Public } from '../auth/permission.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { isOwnOrigin } from '../graphql/upgrade.js';
import { bindToBrowser, isBound, sessionCookies } from './cookie.js';
import { sendPage, sendQuestion } from './pages.js';
import { consumeLink, findLink } from './sessions.js';
import type { Viewer } from './sessions.js';

const USED_UP = 'This link was used or has expired.';
const Answer = z.object({ token: z.string().max(200), proof: z.string().max(200) });

@Controller()
export class SignInController {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'control' | 'settings'>) {}

  /** Asks whether the browser shall be signed in as whoever made the link; looking does not use it up. */
  @Get('sign-in')
  @Public('the one-time token in the link is the proof')
  async ask(@Query('token') token: unknown, @Res() reply: FastifyReply): Promise<void> {
    if (typeof token !== 'string') return sendPage(reply, 401, USED_UP);
    const found = await findLink(this.deps.control, token);
    if (!found) return sendPage(reply, 401, USED_UP);
    const { cookie, proof } = bindToBrowser(token, this.deps.settings.publicUrl);
    reply.header('set-cookie', cookie);
    return sendQuestion(reply, { ...shown(found), token, proof });
  }

  /** Turns the link into a session cookie and goes to the tenant's workflows, or to the list of namespaces for an operator of the platform. */
  @Post('sign-in')
  @Public('the one-time token, and the cookie of the browser that was asked, are the proof')
  async signIn(
    @Body() body: unknown,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { publicUrl } = this.deps.settings;
    const { cookie, origin } = request.headers;
    const answer = Answer.safeParse(body).data;
    if (!answer || !isOwnOrigin(origin, publicUrl) || !isBound(cookie, answer.token, answer.proof))
      return sendPage(reply, 403, 'Open the link itself in this browser, with cookies allowed.');
    const session = await consumeLink(this.deps.control, answer.token);
    if (!session) return sendPage(reply, 401, USED_UP);
    await reply
      .header('set-cookie', sessionCookies(session, publicUrl, new Date()))
      .header('cache-control', 'no-store')
      .redirect(`/temporal${placeOf(session.viewer)}`, 303);
  }
}

const placeOf = (viewer: Viewer): string =>
  viewer.kind === 'member' ? `/namespaces/${placementOf(viewer.tenantId).namespace}/workflows` : '';

function shown({ viewer, name }: { viewer: Viewer; name: string }): { who: string; what: string } {
  const who = name === '' ? viewer.actor : `${name} (${viewer.actor})`;
  return { who, what: viewer.kind === 'member' ? `the tenant ${viewer.tenantId}` : 'all tenants' };
}
