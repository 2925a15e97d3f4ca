import type { NativeConnection } from '@temporalio/worker';
import { expect, it } from 'vitest';
import { BulkheadError, tenantId } from '@bulkhead/contract';
import { createTenantWorker } from './worker.js';

it('there is no Worker for a tenant whose key cannot be had', async () => {
  const gone = new BulkheadError('KEY_DESTROYED');
  const asked = async (): Promise<never> => {
    throw new Error('the server was asked');
  };
  const making = createTenantWorker({
    tenantId: tenantId('acme'),
    connection: { workflowService: { getSystemInfo: asked } } as unknown as NativeConnection,
    bundlePath: '/nowhere',
    verifier: {
      verify: () => {
        throw gone;
      },
    },
    codec: { encode: () => Promise.reject(gone), decode: () => Promise.reject(gone) },
    onRefusal: () => undefined,
    activities: { secretBroker: asked, toolGateway: asked, toolList: asked },
    identity: 'test',
    maxCachedWorkflows: 1,
    shutdownGraceMs: 0,
  });
  await expect(making).rejects.toBe(gone);
});
