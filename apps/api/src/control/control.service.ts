import { Inject, Injectable } from '@nestjs/common';
import { buildStopId } from '@bulkhead/contract';
import { listStops, resumeCalls, stopCalls, untilInForce } from '@bulkhead/tenancy/admin';
import type { Stop, StopScope, StopState } from '@bulkhead/tenancy/admin';
import { newUlid } from '@bulkhead/runtime/ulid';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';

/** What a mutation says of a stop. */
export interface StopRequest {
  readonly scope: StopScope;
  readonly target: string | undefined;
  readonly state: StopState;
  readonly end: boolean;
  readonly reason: string;
}

/** What is shown: '' is how the database says "the whole tenant". */
export type ShownStop = Omit<Stop, 'target'> & { readonly target: string | undefined };

@Injectable()
export class ControlService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'controlDoor' | 'door' | 'settings'>) {}

  /**
   * Commits the stop and answers when it is in force, or after a bound with whom it waits for.
   * @throws BulkheadError NOT_FOUND, BAD_INPUT
   */
  async stop(principal: Principal, request: StopRequest): Promise<ShownStop> {
    const { tenantId, actor } = principal;
    const db = this.deps.controlDoor.tenant(tenantId);
    const id = buildStopId(tenantId, newUlid(Date.now()));
    const stopped = await stopCalls(db, { ...request, id, actor, target: request.target ?? '' });
    return shown(await untilInForce(db, stopped.id, this.boundMs()));
  }

  /** @throws BulkheadError NOT_FOUND (the same for foreign, unknown and malformed) */
  async resume(principal: Principal, id: string, reason: string): Promise<ShownStop> {
    const db = this.deps.controlDoor.tenant(principal.tenantId);
    await resumeCalls(db, { id, reason, actor: principal.actor });
    return shown(await untilInForce(db, id, 0));
  }

  /** Through the ordinary door: who only looks must not hold what a stop needs. */
  async list(principal: Principal, lifted: boolean): Promise<readonly ShownStop[]> {
    return (await listStops(this.deps.door.tenant(principal.tenantId), { lifted })).map(shown);
  }

  /** Within the time in which a request is answered: a stop that is committed must not look as if it had failed. */
  private boundMs(): number {
    return Math.max(0, this.deps.settings.requestMs - ANSWER_MS);
  }
}

const ANSWER_MS = 1_000;

const shown = (stop: Stop): ShownStop => ({ ...stop, target: stop.target === '' ? undefined : stop.target });
