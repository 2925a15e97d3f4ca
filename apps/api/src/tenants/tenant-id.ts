import { InvalidId, tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';

/** A tenant's id as somebody gave it; undefined when it cannot be one, so that it reads like one that nobody has. */
export function tenantIdOf(text: string): TenantId | undefined {
  try {
    return tenantId(text);
  } catch (error) {
    if (error instanceof InvalidId) return undefined;
    throw error;
  }
}
