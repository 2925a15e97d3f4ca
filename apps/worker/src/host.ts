import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { CHANNELS } from '@bulkhead/contract';
import type { HostId } from '@bulkhead/contract';
import { createRefusalJournal } from '@bulkhead/journal/line';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import { loadHostConfig } from '@bulkhead/runtime/config';
import type { HostConfig } from '@bulkhead/runtime/config';
import { createEnvelopeVerifier } from '@bulkhead/runtime/envelope';
import { createServerCheck } from '@bulkhead/runtime/server-check';
import { openTokenSource } from '@bulkhead/runtime/tokens';
import {
  closeFleetThreads,
  createTenantWorker,
  installRuntime,
  openWorkerConnection,
} from '@bulkhead/runtime/worker';
import { composeHost } from './compose-host.js';
import { createFleet } from './host/fleet.js';
import { createKeyWatch } from './host/key-watch.js';
import { createImportWatch } from './host/import-watch.js';
import { createPulse } from './host/pulse.js';
import { createRemovalWatch } from './host/removal-watch.js';
import { createStopWatch } from './host/stop-watch.js';
import { superviseTenantWorker } from './host/tenant-worker.js';
import { createWakeup, idleAfter, runLoop } from './loop.js';
import { runMain } from './main-process.js';
import type { Running } from './main-process.js';
import { watchServer } from './server-watch.js';

/** Running calls get this long to end when the host stops; then they are aborted and settled as they are. */
const SHUTDOWN_GRACE_MS = 10_000;
/** How often it is looked for what policies do not keep any longer, and the pause between two batches. */
const REMOVALS_MS = 60_000;
const BATCHES_MS = 500;

/** The process that does the work: one Worker per tenant, behind the door, on one database pool. */
async function start(config: HostConfig, log: Logger, fatal: (reason: string) => never): Promise<Running> {
  // random at each start: a fenced id never returns, and two processes must never share one
  const hostId = `${config.host.id ?? 'host'}-${randomBytes(8).toString('hex')}` as HostId;
  installRuntime(log, config.log.level);
  const { address, tls, enforcesTokens } = config.temporal;
  const server = createServerCheck({ address, tls, allowOpen: !enforcesTokens, log });
  await server.checkOnce();
  const door = openTenantDoor({
    ...config.database,
    onError: (error) => log.warn({ error }, 'a database connection broke'),
  });
  const pulse = createPulse({
    door,
    hostId,
    nowMs: () => performance.now(),
    onFenced: () => fatal('this host was fenced and ends'),
  });
  await pulse.register();
  const stop = new AbortController();
  const beating = new AbortController();
  const beats = runLoop({
    name: 'beat',
    log,
    stop: beating.signal,
    idleMs: 1_000,
    failedMsMax: 1_000,
    step: idleAfter(pulse.beatOnce),
  });

  const line = composeHost(config, {
    door,
    pulse,
    hostId,
    onKeyLost: (tenantId) => fleet.restart(tenantId),
  });
  const keys = createKeyWatch({ door, keyRing: line.keyRing, hostId, log });
  const refused = createWakeup();
  const refusals = createRefusalJournal({
    door,
    hostId,
    log,
    nowMs: () => performance.now(),
    onNew: () => refused.notify(),
  });
  const journalling = runLoop({
    name: 'refusals',
    log,
    stop: beating.signal,
    idleMs: 5_000,
    wakeup: refused,
    step: idleAfter(() => refusals.writeOnce()),
  });
  const stops = createStopWatch({
    door,
    hostId,
    inFlight: line.inFlight,
    onError: (error) => log.error({ loop: 'stops', error }, 'cannot ask what was stopped, trying again'),
  });
  const stopping = runLoop({
    name: 'stops',
    log,
    stop: beating.signal,
    idleMs: 1_000,
    step: idleAfter(stops.lookOnce),
  });
  const verifier = createEnvelopeVerifier(config.keys.envelopePublic);
  const { tokensDir } = config.temporal;
  const tokens = openTokenSource({
    ...config.temporal,
    ...(tokensDir === undefined ? {} : { tokensDir: join(tokensDir, hostId) }),
  });
  const fleet = createFleet({
    tokens,
    log,
    supervise: (tenantId) =>
      superviseTenantWorker(tenantId, {
        keys,
        tokens,
        log,
        connect: (token) => {
          server.assertChecked();
          return openWorkerConnection({ address, tls, token });
        },
        createWorker: (connection) =>
          createTenantWorker({
            tenantId,
            connection,
            bundlePath: config.host.bundlePath,
            verifier,
            codec: line.codecOf(tenantId),
            onRefusal: refusals.note,
            activities: line.activities,
            identity: hostId,
            maxCachedWorkflows: config.host.maxCachedWorkflows,
            shutdownGraceMs: SHUTDOWN_GRACE_MS,
          }),
      }),
  });
  const imports = createImportWatch({
    door,
    serving: fleet.serving,
    ports: line.imports,
    onError: (tenantId, error) => log.error({ tenantId, error }, 'an import could not be carried out'),
  });
  const stopListening = await door.listen(CHANNELS.control, (tenant) => {
    void stops.hint(tenant);
    void imports.hint(tenant);
  });
  const importing = runLoop({
    name: 'imports',
    log,
    stop: stop.signal,
    idleMs: 10_000,
    step: idleAfter(imports.lookOnce),
  });
  const removals = createRemovalWatch({
    door,
    serving: fleet.serving,
    onError: (tenantId, error) =>
      log.error({ tenantId, error }, 'what is not to be kept could not be removed'),
  });
  const removing = runLoop({
    name: 'removals',
    log,
    stop: stop.signal,
    idleMs: REMOVALS_MS,
    step: async () => {
      if (!(await removals.removeOnce())) return 'idle';
      // calls come first: what is due has been for days
      await sleep(BATCHES_MS);
      return 'busy';
    },
  });
  const watching = watchServer(server, { log, stop: stop.signal, fatal });
  const changed = createWakeup();
  const stopWatching = tokens.onChange(() => changed.notify());
  const adjusting = runLoop({
    name: 'fleet',
    log,
    stop: stop.signal,
    idleMs: 1_000,
    wakeup: changed,
    step: idleAfter(fleet.adjustOnce),
  });

  return {
    async stop() {
      stop.abort();
      stopWatching();
      await Promise.all([adjusting, watching, importing, removing]);
      await fleet.stop();
      await closeFleetThreads();
      await line.close();
      // to the last: what is being settled needs a host that is alive
      beating.abort();
      await Promise.all([beats, journalling, stopping, stopListening()]);
      await refusals.writeOnce({ all: true }).catch((error: unknown) => {
        log.error({ error }, 'refused envelopes could not be journalled');
      });
      await door.close();
    },
  };
}

await runMain({ name: 'host', load: loadHostConfig, start });
