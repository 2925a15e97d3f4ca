import type { Connection } from '@temporalio/client';
import type { Logger } from 'pino';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { ControlConfig } from '@bulkhead/runtime/config';
import type { ServerCheck } from '@bulkhead/runtime/server-check';
import { openWorkerConnection } from '@bulkhead/runtime/worker';
import { createLifecycleSteps, destroyTenantKeys, reconcileTenants } from '@bulkhead/tenancy/control';
import { superviseWorker } from '../supervised-worker.js';
import type { SupervisedWorker } from '../supervised-worker.js';
import { createLifecyclePorts } from './lifecycle-ports.js';
import { createLifecycleWorker } from './lifecycle-worker.js';
import { createLifecycles } from './lifecycles.js';
import type { Lifecycles } from './lifecycles.js';
import { ensurePlatformNamespace } from './namespaces.js';
import { createOwnToken } from './own-token.js';
import type { TokenService } from './token-service.js';

export interface LifecycleServiceDeps {
  readonly config: ControlConfig;
  readonly control: Pick<ControlDb, 'query'>;
  readonly connection: Connection;
  readonly tokens: TokenService;
  readonly server: Pick<ServerCheck, 'assertChecked'>;
  readonly log: Logger;
}

/** Tenants' lifecycles: what is ordered, the workflows that do it, and the Worker that runs them. */
export interface LifecycleService extends Lifecycles, SupervisedWorker {
  /** Meets the server again for every active tenant. */
  reconcileOnce(): Promise<{ readonly failed: number }>;
}

export function createLifecycleService(deps: LifecycleServiceDeps): LifecycleService {
  const { config, control, connection, tokens, server, log } = deps;
  const { address, tls } = config.temporal;
  const { bundlePath, exportsDir, lifecycleQueue: taskQueue } = config.control;
  const ports = createLifecyclePorts({ connection, tokens, exportsDir });
  const steps = createLifecycleSteps({
    ...ports,
    control,
    log,
    async destroyKeys(tenantId, order) {
      await destroyTenantKeys(control, tenantId, order);
    },
  });
  const token = createOwnToken(config.temporal, tokens, (minter) => minter.platform());
  const worker = superviseWorker({
    token: () => Promise.resolve(token()),
    async connect(current) {
      server.assertChecked();
      await ensurePlatformNamespace(connection);
      return openWorkerConnection({ address, tls, token: current });
    },
    createWorker: (native) => createLifecycleWorker(native, taskQueue, bundlePath, steps),
    log: log.child({ worker: 'lifecycle' }),
  });
  return {
    ...createLifecycles({ control, connection, taskQueue, log }),
    ...worker,
    reconcileOnce: () => reconcileTenants({ control, log, registerNamespace: ports.registerNamespace }),
  };
}
