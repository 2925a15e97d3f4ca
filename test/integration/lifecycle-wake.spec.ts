import { randomUUID } from 'node:crypto';
import { Client } from '@temporalio/client';
import { expect, inject, it } from 'vitest';
import {
  AFTER_GRACE,
  LIFECYCLE_PLACE,
  LIFECYCLE_SIGNAL,
  LIFECYCLE_WORKFLOW,
  tenantId,
} from '@bulkhead/contract';
import type { LifecycleStep } from '@bulkhead/contract';
import { openConnection } from '@bulkhead/runtime/client';
import { createTokenMinter } from '@bulkhead/runtime/tokens';
import { openWorkerConnection } from '@bulkhead/runtime/worker';
import { lifecycleBundlePath } from '@bulkhead/workflows/bundle';
import { createLifecycleWorker } from '../../apps/worker/src/control/lifecycle-worker.js';
import { ensurePlatformNamespace } from '../../apps/worker/src/control/namespaces.js';

it('an offboarding that is taken back after its step has looked and before it has answered does not sleep through it', async () => {
  const { temporal, keys } = inject('servers');
  const minter = createTokenMinter({ signingKeyPath: keys.temporalSigning, ttlSeconds: 600 });
  const connection = openConnection({ address: temporal.address, token: () => minter.system('admin') });
  await ensurePlatformNamespace(connection);
  const { workflow } = new Client({ connection, namespace: LIFECYCLE_PLACE.namespace });
  const native = await openWorkerConnection({ address: temporal.address, token: minter.platform() });
  const taskQueue = `lifecycle-wake-${randomUUID()}`;
  const asked: LifecycleStep[] = [];
  const worker = await createLifecycleWorker(native, taskQueue, lifecycleBundlePath(), {
    async lifecycleStep({ lifecycleId }, step) {
      asked.push(step);
      if (step !== 'wait-grace') return {};
      if (asked.filter((name) => name === step).length > 1) return { waitMs: 600_000, reinstate: true };
      // looked: nobody has taken it back; now somebody does, and only then this answers
      await workflow.getHandle(lifecycleId).signal(LIFECYCLE_SIGNAL);
      return { waitMs: 600_000, reinstate: false };
    },
  });
  const running = worker.run();
  try {
    const lifecycleId = `wake.lifecycle.${randomUUID()}`;
    const handle = await workflow.start(LIFECYCLE_WORKFLOW, {
      workflowId: lifecycleId,
      taskQueue,
      args: [{ tenantId: tenantId('wake'), lifecycleId, kind: 'offboard' }],
      workflowExecutionTimeout: '20 seconds',
    });
    await handle.result();
    expect(asked.slice(-AFTER_GRACE.reinstate.length)).toEqual(AFTER_GRACE.reinstate);
  } finally {
    worker.shutdown();
    await running;
    await native.close();
    await connection.close();
  }
});
