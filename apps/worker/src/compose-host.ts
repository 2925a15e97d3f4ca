import type { PayloadCodec } from '@temporalio/common';
import type { HostId, TenantId } from '@bulkhead/contract';
import { createJournal } from '@bulkhead/journal/line';
import { createPolicy } from '@bulkhead/policy/line';
import { tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { createTenantCodec } from '@bulkhead/runtime/codec';
import type { HostConfig } from '@bulkhead/runtime/config';
import { createKeyRing } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { newUlid } from '@bulkhead/runtime/ulid';
import type { GovernedActivities } from '@bulkhead/runtime/worker';
import { createImportLeases, createSecretBroker } from '@bulkhead/secret-broker/line';
import {
  createAdapters,
  createInFlight,
  createToolGateway,
  createToolList,
  createToolMatcher,
  createToolState,
} from '@bulkhead/tool-gateway/line';
import type { ImportPorts, InFlight } from '@bulkhead/tool-gateway/line';
import { bindActivities } from './host/activities.js';
import type { Line } from './host/activities.js';
import type { Pulse } from './host/pulse.js';

export interface HostParts {
  readonly door: TenantDoor;
  readonly pulse: Pick<Pulse, 'isAlive'>;
  readonly hostId: HostId;
  /** The tenant's key cannot be used; neither throws nor waits. */
  readonly onKeyLost: (tenantId: TenantId) => void;
}

/** Everything that one host needs to carry effects, put together in one place. */
export function composeHost(
  config: HostConfig,
  { door, pulse, hostId, onKeyLost }: HostParts,
): {
  readonly line: Line;
  readonly activities: GovernedActivities;
  /** The calls that this host has under way. */
  readonly inFlight: InFlight;
  /** Lists what an MCP server offers to a tenant, and the credentials of such lists. */
  readonly imports: ImportPorts;
  readonly keyRing: Pick<KeyRing, 'check'>;
  readonly codecOf: (tenantId: TenantId) => PayloadCodec;
  close(): Promise<void>;
} {
  const stop = new AbortController();
  const ulid = (): string => newUlid(Date.now());
  const keyRing = createKeyRing({
    masterKeyPath: config.keys.master,
    loadTenantKey: tenantKeys(door),
    onUnavailable: onKeyLost,
  });
  const broker = createSecretBroker({ door, keyRing, newUlid: ulid });
  const { adapters, listMcp, close } = createAdapters({
    mcp: {
      servers: config.host.mcpServers,
      dataDir: config.host.dataDir,
      path: process.env['PATH'] ?? '',
    },
    egress: config.host.egress,
  });
  const inFlight = createInFlight();
  const policy = createPolicy({ door });
  const toolGateway = createToolGateway({
    inFlight,
    matcher: createToolMatcher(door),
    policy,
    journal: createJournal({ door, stop: stop.signal }),
    broker,
    toolState: createToolState(door),
    adapters,
    keyRing,
    newUlid: ulid,
    stillMine: () => pulse.isAlive(),
  });
  const toolList = createToolList({ door, policy });
  const line = { secretBroker: broker.secretBroker, toolGateway, toolList };
  return {
    line,
    activities: bindActivities(line, hostId),
    inFlight,
    imports: { list: listMcp, lease: createImportLeases({ door, keyRing, hostId }) },
    keyRing,
    codecOf: (tenantId) => createTenantCodec(tenantId, keyRing),
    async close() {
      stop.abort();
      await close();
    },
  };
}
