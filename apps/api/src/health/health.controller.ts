import { Controller, Get, Inject } from '@nestjs/common';
import { Public } from '../auth/permission.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';

@Controller()
export class HealthController {
  constructor(
    @Inject(API_DEPS) private readonly deps: { readonly control: Pick<ApiDeps['control'], 'query'> },
  ) {}

  @Get('healthz')
  @Public('tells only that the process answers')
  healthz(): { status: 'ok' } {
    return { status: 'ok' };
  }

  /** 503 while the database does not answer. */
  @Get('readyz')
  @Public('tells only whether the database answers')
  async readyz(): Promise<{ status: 'ok' }> {
    await this.deps.control.query('SELECT 1');
    return { status: 'ok' };
  }
}
