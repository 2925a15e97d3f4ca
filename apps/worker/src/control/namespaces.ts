import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcServiceError } from '@temporalio/client';
import type { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { LIFECYCLE_PLACE, placementOf, SEARCH_ATTRIBUTES } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';

const NOT_FOUND = 5;
const ALREADY_EXISTS = 6;
/** INDEXED_VALUE_TYPE_KEYWORD of temporal.api.enums.v1. */
const KEYWORD = 2;
/** How long a closed run's history stays; what was done is in our own journal. */
const RETENTION = '7d';
/** The server's services learn of a namespace within 2 s. */
const VISIBLE_MS_MAX = 15_000;
const REQUEST_MS_MAX = 10_000;
/** The server checks and renames the namespace in a workflow of its own before it answers. */
const DELETE_MS_MAX = 60_000;

/** Registers a tenant's namespace and its search attributes; what is there already is left as it is. */
export async function ensureNamespace(connection: Connection, tenantId: TenantId): Promise<void> {
  const { namespace } = placementOf(tenantId);
  await registerThen(connection, namespace, () => ensureSearchAttributes(connection, namespace));
}

/** Registers the namespace of the platform's own workflows. */
export async function ensurePlatformNamespace(connection: Connection): Promise<void> {
  const { namespace } = LIFECYCLE_PLACE;
  await registerThen(connection, namespace, async () => {
    await connection.workflowService.describeNamespace({ namespace });
  });
}

/**
 * Deletes a tenant's namespace: it cannot be reached any more when this returns, and the server removes what is in it
 * over the next minutes. One that is gone is fine.
 */
export async function deleteNamespace(connection: Connection, tenantId: TenantId): Promise<void> {
  const { namespace } = placementOf(tenantId);
  try {
    await connection.withDeadline(Date.now() + DELETE_MS_MAX, () =>
      connection.operatorService.deleteNamespace({ namespace }),
    );
  } catch (error) {
    if (!isGrpcServiceError(error) || Number(error.code) !== NOT_FOUND) throw error;
  }
}

async function registerThen(
  connection: Connection,
  namespace: string,
  use: () => Promise<void>,
): Promise<void> {
  await connection.withDeadline(Date.now() + REQUEST_MS_MAX, () => register(connection, namespace));
  const deadline = Date.now() + VISIBLE_MS_MAX;
  for (;;) {
    try {
      await connection.withDeadline(Date.now() + REQUEST_MS_MAX, use);
      return;
    } catch (error) {
      // a service that has not read the namespace yet says NOT_FOUND
      if (Date.now() > deadline) throw error;
      await sleep(250);
    }
  }
}

async function register(connection: Connection, namespace: string): Promise<void> {
  try {
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: msToTs(RETENTION),
    });
  } catch (error) {
    if (!isGrpcServiceError(error) || Number(error.code) !== ALREADY_EXISTS) throw error;
  }
}

async function ensureSearchAttributes(connection: Connection, namespace: string): Promise<void> {
  const wanted = Object.values(SEARCH_ATTRIBUTES);
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  const missing = wanted.filter((name) => customAttributes[name] === undefined);
  if (missing.length === 0) return;
  // one call for all: each is an update of the namespace, and those are limited to one a second
  await connection.operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
  });
}
