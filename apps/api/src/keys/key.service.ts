import { Inject, Injectable } from '@nestjs/common';
import type { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';
import { createApiKey, listApiKeys, revokeApiKey } from '@bulkhead/tenancy/admin';
import type { ApiKey } from '@bulkhead/tenancy/admin';
import { checkGift } from '../auth/giving.js';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';
import type { CreateApiKey } from './key.input.js';

@Injectable()
export class KeyService {
  constructor(@Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'door'>) {}

  list(
    principal: Principal,
    page: { first: number; after: string | undefined },
  ): Promise<{ readonly nodes: readonly ApiKey[]; readonly endCursor: string | undefined }> {
    const within = principal.where('key:read');
    return listApiKeys(this.deps.door.tenant(principal.tenantId), { ...page, within });
  }

  /** @throws BulkheadError FORBIDDEN (more or longer than the caller has), NOT_FOUND (no such workspace) */
  async create(
    principal: Principal,
    input: z.infer<typeof CreateApiKey>,
  ): Promise<{ readonly key: string; readonly apiKey: ApiKey }> {
    const { name, role } = input;
    const permissions = input.permissions ?? undefined;
    const workspaceId = input.workspaceId ?? undefined;
    const expiresAt = input.expiresAt ?? undefined;
    checkGift(principal, { role, permissions, workspaceId });
    checkEnd(principal, expiresAt);
    const { key, made } = await createApiKey(this.deps.door.tenant(principal.tenantId), {
      name,
      role,
      permissions,
      workspaceId,
      expiresAt,
      by: principal,
    });
    return { key, apiKey: made };
  }

  /** @throws BulkheadError NOT_FOUND, the same for foreign, unknown and ended keys and those out of reach. */
  revoke(principal: Principal, prefix: string, withItsKeys: boolean): Promise<ApiKey[]> {
    const within = principal.where('key:revoke');
    const db = this.deps.door.tenant(principal.tenantId);
    return revokeApiKey(db, prefix, { by: principal, within, withItsKeys });
  }
}

/** A key that ends cannot live on in another; a person's token ends within hours and their keys end with the person. */
function checkEnd(principal: Principal, expiresAt: Date | undefined): void {
  if (principal.identity || !principal.expiresAt) return;
  if (expiresAt && expiresAt <= principal.expiresAt) return;
  throw new BulkheadError('FORBIDDEN', {
    publicMessage: `Your key ends at ${principal.expiresAt.toISOString()}: give an expiresAt that is not later.`,
  });
}
