import { Controller, Get, Inject, Query, Res } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { placementOf } from '@bulkhead/contract';
import { Public } from '../auth/permission.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import { sessionCookies } from './cookie.js';
import { sendPage } from './pages.js';
import { consumeLink } from './sessions.js';

@Controller()
export class SignInController {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'control' | 'settings'>) {}

  /** Turns the link into a session cookie and goes to the tenant's workflows, or to the list of namespaces for an operator of the platform. */
  @Get('sign-in')
  @Public('the one-time token in the link is the proof')
  async signIn(@Query('token') token: unknown, @Res() reply: FastifyReply): Promise<void> {
    const session = typeof token === 'string' ? await consumeLink(this.deps.control, token) : undefined;
    if (!session) return sendPage(reply, 401, 'This link was used or has expired.');
    const { viewer } = session;
    const place =
      viewer.kind === 'member' ? `/namespaces/${placementOf(viewer.tenantId).namespace}/workflows` : '';
    await reply
      .header('set-cookie', sessionCookies(session.token, this.deps.settings.publicUrl))
      .header('cache-control', 'no-store')
      .redirect(`/temporal${place}`, 303);
  }
}
