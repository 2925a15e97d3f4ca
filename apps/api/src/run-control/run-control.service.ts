import { Inject, Injectable } from '@nestjs/common';
import { BulkheadError } from '@bulkhead/contract';
import type { RunId, TenantId } from '@bulkhead/contract';
import { findRun, listRunRequests, requestRun } from '@bulkhead/runs/admin';
import type { ResetPoint, Run, RunAction, RunRequestView } from '@bulkhead/runs/admin';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import type { ResetTo } from './run-control.input.js';

/** What a mutation says besides what is to be done. */
export interface Asked {
  readonly reason: string;
  readonly idempotencyKey: string | undefined;
}

@Injectable()
export class RunControlService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door' | 'payloads'>) {}

  /**
   * Commits the request and answers with the run; the control process carries it out.
   * @throws BulkheadError NOT_FOUND (the same for foreign, unknown, malformed and out of reach), INVALID_STATE,
   *   IDEMPOTENCY_CONFLICT, BAD_INPUT, PAYLOAD_TOO_LARGE
   */
  async ask(principal: Principal, id: string, action: RunAction, asked: Asked): Promise<Run> {
    const db = this.deps.door.tenant(principal.tenantId);
    const before = await findRun(db, id);
    // one of a workspace that the caller does not reach looks like one that is not there
    if (!before || !principal.covers(`run:${action.kind}`, before)) throw notFound();
    await requestRun(db, { ...asked, runId: id, action, actor: principal.actor }, this.deps.payloads);
    const run = await findRun(db, id);
    if (!run) throw notFound();
    return run;
  }

  list(tenantId: TenantId, runId: RunId): Promise<readonly RunRequestView[]> {
    return listRunRequests(this.deps.door.tenant(tenantId), runId);
  }
}

/** @throws BulkheadError BAD_INPUT when `eventId` is missing, or given without need. */
export function resetPointOf(to: ResetTo, eventId: number | undefined): ResetPoint {
  if (to === 'event' && eventId !== undefined) return { to, eventId };
  if (to !== 'event' && eventId === undefined) return { to };
  throw new BulkheadError('BAD_INPUT', {
    field: 'eventId',
    publicMessage: 'eventId: give it with `to: event`, and only then',
  });
}

const notFound = (): BulkheadError => new BulkheadError('NOT_FOUND', { field: 'id' });
