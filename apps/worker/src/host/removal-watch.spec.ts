import { expect, it } from 'vitest';
import type { TenantId } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { createRemovalWatch } from './removal-watch.js';

const tenants = ['acme', 'globex', 'initech'] as TenantId[];

function watchOf(answers: { readonly [tenant: string]: unknown }) {
  const asked: string[] = [];
  const failed: string[] = [];
  const watch = createRemovalWatch({
    door: {
      tenant: (tenantId) =>
        ({
          tenantId,
          call: (name: string) => {
            asked.push(`${name} ${tenantId}`);
            const answer = answers[tenantId];
            return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
          },
        }) as unknown as TenantDb,
    },
    serving: () => tenants,
    onError: (tenantId) => failed.push(tenantId),
  });
  return { watch, asked, failed };
}
const removed = (more: boolean) => ({ kind: 'removed', records: 1, more });

it('one batch of each tenant that the host serves; one whose policy cannot be read keeps nobody else', async () => {
  const { watch, asked, failed } = watchOf({
    acme: new Error('soon'),
    globex: removed(true),
    initech: removed(false),
  });
  expect(await watch.removeOnce()).toBe(true);
  expect(asked).toEqual(tenants.map((tenant) => `remove_content ${tenant}`));
  expect(failed).toEqual(['acme']);
});

it('rests when nothing is due, somebody else is at it, or the tenant is not active', async () => {
  const { watch, failed } = watchOf({
    acme: removed(false),
    globex: { kind: 'busy' },
    initech: { kind: 'held' },
  });
  expect(await watch.removeOnce()).toBe(false);
  expect(failed).toEqual([]);
});
