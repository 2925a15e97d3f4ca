import type { TenantId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { carryOutImports } from '@bulkhead/tool-gateway/line';
import type { ImportPorts } from '@bulkhead/tool-gateway/line';

export interface ImportWatchDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  /** Tenants that this host serves. */
  readonly serving: () => readonly TenantId[];
  readonly ports: ImportPorts;
  readonly onError: (tenantId: TenantId, error: unknown) => void;
}

export interface ImportWatch {
  /** A hint: that tenant may have ordered an import. */
  hint(tenant: string): Promise<void>;
  /** Asks for every tenant, one after another. Call it every few seconds: a hint may be lost with its connection. */
  lookOnce(): Promise<void>;
}

/** Takes over what MCP servers offer, for tenants that ordered it: only hosts reach servers. */
export function createImportWatch({ door, serving, ports, onError }: ImportWatchDeps): ImportWatch {
  // one tenant that cannot be asked, or whose server takes its time, must not keep the others waiting for ever
  const look = (tenantId: TenantId): Promise<void> =>
    carryOutImports(door.tenant(tenantId), ports).catch((error: unknown) => onError(tenantId, error));
  return {
    async hint(tenant) {
      const tenantId = serving().find((id) => id === tenant);
      if (tenantId !== undefined) await look(tenantId);
    },
    async lookOnce() {
      for (const tenantId of serving()) await look(tenantId);
    },
  };
}
