import type { Logger } from 'pino';
import { CHANNELS, tenantId } from '@bulkhead/contract';
import { createSealer } from '@bulkhead/journal/control';
import { openControlDoor } from '@bulkhead/prisma/control';
import { createCloseWatcher, createDispatcher } from '@bulkhead/runs/control';
import { openConnection } from '@bulkhead/runtime/client';
import { loadControlConfig } from '@bulkhead/runtime/config';
import type { ControlConfig } from '@bulkhead/runtime/config';
import { createServerCheck } from '@bulkhead/runtime/server-check';
import { createTokenMinter, createTokenWriter } from '@bulkhead/runtime/tokens';
import { createLifecycle } from '@bulkhead/tenancy/control';
import { createAdminToken } from './control/admin-token.js';
import { createHostFencer } from './control/host-fencer.js';
import { ensureNamespace } from './control/namespaces.js';
import { createRunsInTemporal } from './control/temporal-runs.js';
import { createRunControlInTemporal } from './control/temporal-runs-control.js';
import { createTokenIssuer, TOKEN_RENEWAL_MS, TOKEN_TTL_SECONDS } from './control/token-issuer.js';
import { createWakeup, idleAfter, runLoop } from './loop.js';
import { runMain } from './main-process.js';
import type { Running } from './main-process.js';
import { watchServer } from './server-watch.js';

/**
 * The process that keeps promises: it starts accepted runs, sees them end, seals the journal, prepares tenants, mints
 * tokens and fences hosts. One at a time is enough; two do no harm, for every step is a claim in the database.
 */
async function start(config: ControlConfig, log: Logger, fatal: (reason: string) => never): Promise<Running> {
  const minter = createTokenMinter({
    signingKeyPath: config.keys.temporalSigning,
    ttlSeconds: TOKEN_TTL_SECONDS,
  });
  const { address, tls } = config.temporal;
  const server = createServerCheck({
    address,
    tls,
    ...(config.temporal.apiKeyFile === undefined
      ? { foreignToken: () => minter.tenant(SOMEBODY, 'write') }
      : {}),
    allowOpen: !config.temporal.enforcesTokens,
    log,
  });
  await server.checkOnce(); // before anything is opened that a refusal would have to close
  const control = openControlDoor({
    ...config.database,
    onError: (error) => log.warn({ error }, 'a database connection broke'),
  });
  const adminToken = createAdminToken(config.temporal, minter, () => performance.now());
  const connection = openConnection({
    address,
    tls,
    token: () => {
      server.assertChecked();
      return adminToken();
    },
  });
  const temporal = { ...createRunsInTemporal(connection), ...createRunControlInTemporal(connection) };
  const tokens = createTokenIssuer(minter, createTokenWriter({ dir: config.temporal.tokensDir }));
  const watcher = createCloseWatcher({ control, temporal, log });
  const dispatcher = createDispatcher({ control, temporal, log, onStarted: (run) => watcher.watch(run) });
  const lifecycle = createLifecycle({
    control,
    log,
    ensureNamespace: (tenantId) => ensureNamespace(connection, tenantId),
    issueTokens: (tenantId) => tokens.tenant(tenantId),
  });
  const sealer = createSealer({
    control,
    onError: (error) => log.error({ loop: 'seal', error }, 'cannot seal'),
  });
  const fencer = createHostFencer({ control, log, nowMs: () => performance.now() });

  const stop = new AbortController();
  const outbox = createWakeup();
  const tenants = createWakeup();
  const stopListening = [
    await control.listen(CHANNELS.outbox, () => outbox.notify()),
    await control.listen(CHANNELS.tenants, () => tenants.notify()),
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
      idleAfter(() => watcher.sweepOnce()),
    ),
    loop(
      'provision',
      1_000,
      async () => ((await lifecycle.provisionOnce()).activated > 0 ? 'busy' : 'idle'),
      tenants,
    ),
    loop(
      'reconcile',
      RECONCILE_MS,
      untilDone(() => lifecycle.reconcileOnce()),
    ),
    loop(
      'tokens',
      TOKEN_RENEWAL_MS,
      untilDone(async () => {
        await tokens.system();
        return lifecycle.renewTokensOnce();
      }),
    ),
    loop(
      'fence',
      1_000,
      idleAfter(() => fencer.fenceOnce()),
    ),
    watchServer(server, { log, stop: stop.signal, fatal }),
    sealer.run(stop.signal),
  ];
  return {
    async stop() {
      stop.abort();
      await watcher.stop();
      await Promise.all(loops);
      await connection.close();
      await Promise.all(stopListening.map((end) => end()));
      await control.close();
    },
  };
}

/** Whose token must open nothing of anybody else's; such a tenant need not exist. */
const SOMEBODY = tenantId('somebody');
const RECONCILE_MS = 3_600_000;

/** Tenants that were not ready make the loop come back soon, with backoff, not after its long pause. */
const untilDone = (step: () => Promise<{ readonly failed: number }>) => async (): Promise<'idle'> => {
  const { failed } = await step();
  if (failed > 0) throw new Error(`${failed} tenants are not ready`);
  return 'idle';
};

await runMain({ name: 'control', load: loadControlConfig, start });
