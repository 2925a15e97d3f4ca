import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { CHANNELS } from '@bulkhead/contract';
import { createReaper, createSealer } from '@bulkhead/journal/control';
import { endApprovals, removeOldCounters } from '@bulkhead/policy/control';
import { openControlDoor } from '@bulkhead/prisma/control';
import { createCloseWatcher, createDispatcher, createResetSweep } from '@bulkhead/runs/control';
import { openConnection } from '@bulkhead/runtime/client';
import { loadControlConfig } from '@bulkhead/runtime/config';
import type { ControlConfig } from '@bulkhead/runtime/config';
import { createServerCheck } from '@bulkhead/runtime/server-check';
import { installRuntime } from '@bulkhead/runtime/worker';
import { createHostFencer } from './control/host-fencer.js';
import { createLifecycleService } from './control/lifecycle-service.js';
import { createOwnToken } from './control/own-token.js';
import { createRunsInTemporal } from './control/temporal-runs.js';
import { createRunControlInTemporal } from './control/temporal-runs-control.js';
import { createTokenService } from './control/token-service.js';
import { createWakeup, idleAfter, runLoop } from './loop.js';
import { runMain } from './main-process.js';
import type { Running } from './main-process.js';
import { watchServer } from './server-watch.js';

/**
 * The process that keeps promises: it starts accepted runs, sees them end, seals the journal, prepares tenants, mints
 * tokens and fences hosts. One at a time is enough; two do no harm, for every step is a claim in the database.
 */
async function start(config: ControlConfig, log: Logger, fatal: (reason: string) => never): Promise<Running> {
  const control = openControlDoor({
    ...config.database,
    onError: (error) => log.warn({ error }, 'a database connection broke'),
  });
  const { address, tls, apiKeyFile, enforcesTokens } = config.temporal;
  // one needs the other: keys are proven on the connection, which carries a token of such a key
  const tokens = createTokenService({ config, control, log, connection: () => connection });
  const server = createServerCheck({
    address,
    tls,
    ...(apiKeyFile === undefined ? { foreignToken: tokens.foreign } : {}),
    allowOpen: !enforcesTokens,
    log,
  });
  await server.checkOnce();
  const adminToken = createOwnToken(config.temporal, tokens, (minter) => minter.system('admin'));
  const connection = openConnection({
    address,
    tls,
    token: () => {
      server.assertChecked();
      return adminToken();
    },
  });
  await tokens.open();
  const temporal = { ...createRunsInTemporal(connection), ...createRunControlInTemporal(connection) };
  const watcher = createCloseWatcher({ control, temporal, log });
  const resets = createResetSweep({ control, temporal, log, now: () => new Date() });
  const dispatcher = createDispatcher({ control, temporal, log, onStarted: (run) => watcher.watch(run) });
  installRuntime(log, config.log.level);
  const lifecycles = createLifecycleService({ config, control, connection, tokens, server, log });
  const sealer = createSealer({
    control,
    onError: (error) => log.error({ loop: 'seal', error }, 'cannot seal'),
  });
  const reaper = createReaper({ control, log });
  const fencer = createHostFencer({ control, log, nowMs: () => performance.now() });

  const stop = new AbortController();
  const outbox = createWakeup();
  const tenants = createWakeup();
  const assignments = createWakeup();
  const stopListening = [
    await control.listen(CHANNELS.outbox, () => outbox.notify()),
    await control.listen(CHANNELS.tenants, () => {
      tenants.notify();
      assignments.notify();
    }),
  ];
  const loop = (
    name: string,
    idleMs: number,
    step: () => Promise<'busy' | 'idle'>,
    wakeup = createWakeup(),
  ) => runLoop({ name, log, stop: stop.signal, idleMs, wakeup, step });
  const loops = [
    loop(
      'dispatch',
      1_000,
      async () => ((await dispatcher.dispatchOnce()).delivered > 0 ? 'busy' : 'idle'),
      outbox,
    ),
    loop(
      'watch',
      1_000,
      idleAfter(() => watcher.adoptOnce()),
    ),
    loop(
      'sweep',
      3_000,
      idleAfter(() => resets.sweepOnce()),
    ),
    loop(
      'lifecycles',
      1_000,
      async () => ((await lifecycles.deliverOnce()).delivered > 0 ? 'busy' : 'idle'),
      tenants,
    ),
    loop(
      'lost lifecycles',
      LOST_MS,
      idleAfter(() => lifecycles.resumeOnce()),
    ),
    loop(
      'reconcile',
      RECONCILE_MS,
      untilDone(() => lifecycles.reconcileOnce()),
    ),
    loop(
      'tokens',
      Math.min(TOKENS_MS, config.temporal.tokenTtlSeconds * 200),
      async () => {
        const { waiting } = await tokens.syncOnce();
        await lifecycles.renewToken();
        if (waiting === 0) return 'idle';
        await sleep(ACCEPTED_EVERY_MS);
        return 'busy';
      },
      assignments,
    ),
    loop(
      'fence',
      1_000,
      idleAfter(() => fencer.fenceOnce()),
    ),
    loop('reap', REAP_MS, async () => ((await reaper.reapOnce()).length > 0 ? 'busy' : 'idle')),
    loop('approvals', APPROVALS_MS, async () => ((await endApprovals(control)) > 0 ? 'busy' : 'idle')),
    loop('counters', COUNTERS_MS, async () => ((await removeOldCounters(control)) > 0 ? 'busy' : 'idle')),
    watchServer(server, { log, stop: stop.signal, fatal }),
    sealer.run(stop.signal),
  ];
  return {
    async stop() {
      stop.abort();
      await Promise.all([watcher.stop(), lifecycles.stop()]);
      await Promise.all(loops);
      await connection.close();
      await Promise.all(stopListening.map((end) => end()));
      await control.close();
    },
  };
}

/** Hints make it quicker; a token is replaced when half of its life is over. */
const TOKENS_MS = 5_000;
/** The server reads its keys once a second. */
const ACCEPTED_EVERY_MS = 200;
/** A lifecycle without a workflow is a rarity: a server without its data, a terminate from outside. */
const LOST_MS = 30_000;
const RECONCILE_MS = 3_600_000;
/** The shortest margin is 10 s, so a call that nobody settles is closed 15 s after its time. */
const REAP_MS = 5_000;
/** Whoever reads one meanwhile is told that it is expired. */
const APPROVALS_MS = 5_000;
const COUNTERS_MS = 600_000;

/** Tenants that were not ready make the loop come back soon, with backoff, not after its long pause. */
const untilDone = (step: () => Promise<{ readonly failed: number }>) => async (): Promise<'idle'> => {
  const { failed } = await step();
  if (failed > 0) throw new Error(`${failed} tenants are not ready`);
  return 'idle';
};

await runMain({ name: 'control', load: loadControlConfig, start });
