import type { TenantId } from '@bulkhead/contract';
import type { TokenMinter, TokenWriter } from '@bulkhead/runtime/tokens';

/** A token opens its namespace for an hour and is replaced six times before it ends. */
export const TOKEN_TTL_SECONDS = 3_600;
export const TOKEN_RENEWAL_MS = 600_000;

/** Mints what hosts and API may hold, into the token folder. */
export interface TokenIssuer {
  /** `write` for hosts (polling needs it), `read` for the API. */
  tenant(tenantId: TenantId): Promise<void>;
  /** The API's token for Temporal UI's three system reads. */
  system(): Promise<void>;
}

export function createTokenIssuer(minter: TokenMinter, writer: TokenWriter): TokenIssuer {
  return {
    async tenant(tenantId) {
      await writer.tenant(tenantId, 'read', minter.tenant(tenantId, 'read'));
      // last, because a write token is what tells a host to serve the tenant
      await writer.tenant(tenantId, 'write', minter.tenant(tenantId, 'write'));
    },
    system: () => writer.system('read', minter.system('read')),
  };
}
