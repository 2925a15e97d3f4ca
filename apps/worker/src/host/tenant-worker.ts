import type { Logger } from 'pino';
import type { TenantId } from '@bulkhead/contract';
import type { TokenSource } from '@bulkhead/runtime/tokens';
import { superviseWorker } from '../supervised-worker.js';
import type { SupervisedWorker, SupervisedWorkerDeps } from '../supervised-worker.js';

export interface TenantWorkerDeps extends Pick<SupervisedWorkerDeps, 'connect' | 'createWorker'> {
  readonly tokens: Pick<TokenSource, 'get'>;
  readonly log: Logger;
}

/** One tenant's Worker, on the tenant's own token. */
export function superviseTenantWorker(
  tenantId: TenantId,
  { tokens, log, connect, createWorker }: TenantWorkerDeps,
): SupervisedWorker {
  return superviseWorker({
    token: () => tokens.get(tenantId, 'write'),
    connect,
    createWorker,
    log: log.child({ tenantId }),
  });
}
