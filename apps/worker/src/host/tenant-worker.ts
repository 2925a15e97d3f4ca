import type { Logger } from 'pino';
import type { TenantId } from '@bulkhead/contract';
import type { TokenSource } from '@bulkhead/runtime/tokens';
import { superviseWorker } from '../supervised-worker.js';
import type { KeyWatch } from './key-watch.js';
import type { SupervisedWorker, SupervisedWorkerDeps } from '../supervised-worker.js';

export interface TenantWorkerDeps extends Pick<SupervisedWorkerDeps, 'connect' | 'createWorker'> {
  readonly keys: KeyWatch;
  readonly tokens: Pick<TokenSource, 'get'>;
  readonly log: Logger;
}

/** One tenant's Worker, on the tenant's own token. */
export function superviseTenantWorker(
  tenantId: TenantId,
  { keys, tokens, log, connect, createWorker }: TenantWorkerDeps,
): SupervisedWorker {
  return superviseWorker({
    ready: () => keys.ready(tenantId),
    token: () => tokens.get(tenantId, 'write'),
    connect,
    createWorker,
    log: log.child({ tenantId }),
  });
}
