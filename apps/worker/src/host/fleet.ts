import type { Logger } from 'pino';
import type { TenantId } from '@bulkhead/contract';
import type { TokenSource } from '@bulkhead/runtime/tokens';
import type { SupervisedWorker } from '../supervised-worker.js';

export interface FleetDeps {
  /** Whose write token exists may be served; the control process decides by writing and removing them. */
  readonly tokens: Pick<TokenSource, 'tenants'>;
  readonly supervise: (tenantId: TenantId) => SupervisedWorker;
  readonly log: Logger;
}

export interface Fleet {
  /** Starts Workers for new tenants, stops those of tenants that left, renews tokens. Call it each second. */
  adjustOnce(): Promise<void>;
  serving(): readonly TenantId[];
  /** Something that the tenant's Worker needs is gone: it drains, and starts again when it has all. */
  restart(tenantId: TenantId): void;
  stop(): Promise<void>;
}

/** One Worker per tenant, each with its own supervisor. */
export function createFleet({ tokens, supervise, log }: FleetDeps): Fleet {
  const workers = new Map<TenantId, SupervisedWorker>();
  /** Still draining. A tenant that comes back waits for it: two Workers of one queue in one process are refused. */
  const leaving = new Map<TenantId, Promise<void>>();

  const renew = async (tenantId: TenantId, worker: SupervisedWorker): Promise<void> => {
    try {
      await worker.renewToken();
    } catch (error) {
      // the old token still works for most of an hour, and this is tried again each second
      log.warn({ tenantId, error }, 'cannot renew a token');
    }
  };

  return {
    async adjustOnce() {
      const wanted = new Set(await tokens.tenants('write'));
      for (const [tenantId, worker] of workers) {
        if (wanted.has(tenantId)) continue;
        workers.delete(tenantId);
        // a drain takes as long as the longest call: it must not hold up the others
        const drained = worker.stop().finally(() => leaving.delete(tenantId));
        leaving.set(tenantId, drained);
        drained.then(
          () => log.info({ tenantId }, 'no longer serving'),
          (error: unknown) => log.warn({ tenantId, error }, 'a Worker ended badly'),
        );
      }
      await Promise.all([...workers].map(([tenantId, worker]) => renew(tenantId, worker)));
      for (const tenantId of wanted) {
        if (!workers.has(tenantId) && !leaving.has(tenantId)) workers.set(tenantId, supervise(tenantId));
      }
    },
    serving: () => [...workers.keys()],
    restart: (tenantId) => workers.get(tenantId)?.restart(),
    async stop() {
      await Promise.all([...[...workers.values()].map((worker) => worker.stop()), ...leaving.values()]);
      workers.clear();
    },
  };
}
