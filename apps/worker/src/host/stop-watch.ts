import { z } from 'zod';
import type { HostId, TenantId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import type { InFlight } from '@bulkhead/tool-gateway/line';

const StoppedCalls = z.array(z.strictObject({ key: z.string(), abort: z.boolean() }));

export interface StopWatchDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  readonly hostId: HostId;
  readonly inFlight: Pick<InFlight, 'tenants' | 'stop'>;
  readonly onError: (error: unknown) => void;
}

export interface StopWatch {
  /** A hint: something of that tenant was stopped; '' may be about anyone. Returns when its calls were told. */
  hint(tenant: string): Promise<void>;
  /** Asks for every tenant with calls under way. Call it each second: a hint may be lost with its connection. */
  lookOnce(): Promise<void>;
}

/**
 * Carries stops and revocations to the calls that are under way on this host. The database says which they are; that a
 * stop is in force follows from how they are settled, so nothing here has to be believed.
 */
export function createStopWatch({ door, hostId, inFlight, onError }: StopWatchDeps): StopWatch {
  const look = async (tenantId: TenantId): Promise<void> => {
    const answer = await door.tenant(tenantId).call('calls_to_stop', { host: hostId });
    inFlight.stop(tenantId, StoppedCalls.parse(answer));
  };
  // one tenant that cannot be asked must not keep the others' stops from their calls
  const each = async (tenants: readonly TenantId[]): Promise<void> => {
    await Promise.all(tenants.map((tenantId) => look(tenantId).catch(onError)));
  };
  return {
    hint: (tenant) => each(inFlight.tenants().filter((id) => tenant === '' || id === tenant)),
    lookOnce: () => each(inFlight.tenants()),
  };
}
