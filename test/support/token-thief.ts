import { randomUUID } from 'node:crypto';
import { inject } from 'vitest';
import type { Connection } from '@temporalio/client';
import { placementOf } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { openConnection } from '@bulkhead/runtime/client';
import { isRefusal } from './raw-temporal.js';

/** What somebody does who has copied a token. */

/** A thief's connection with a copied token. */
export function withToken(token: string): Connection {
  return openConnection({ address: inject('servers').temporal.address, token: () => token });
}

export const QUESTIONS: Record<string, (connection: Connection, tenantId: TenantId) => Promise<unknown>> = {
  describe: (connection, tenantId) =>
    connection.workflowService.describeNamespace({ namespace: placementOf(tenantId).namespace }),
  start: (connection, tenantId) =>
    connection.workflowService.startWorkflowExecution({
      namespace: placementOf(tenantId).namespace,
      workflowId: randomUUID(),
      workflowType: { name: 'stolen' },
      taskQueue: { name: 'nobody-polls-this' },
      requestId: randomUUID(),
    }),
  poll: (connection, tenantId) =>
    connection.workflowService.pollActivityTaskQueue({
      namespace: placementOf(tenantId).namespace,
      taskQueue: { name: 'nobody-polls-this' },
      identity: 'thief',
    }),
};

/** Which questions the server refuses for want of permission; a poll that finds nothing in time was let in. */
export async function refused(connection: Connection, tenantId: TenantId): Promise<string[]> {
  const names: string[] = [];
  for (const [name, ask] of Object.entries(QUESTIONS)) {
    try {
      await connection.withDeadline(Date.now() + 1_500, () => ask(connection, tenantId));
    } catch (error) {
      if (isRefusal(error)) names.push(name);
    }
  }
  return names;
}
