import { pino } from 'pino';
import { loadApiConfig } from '@bulkhead/runtime/config';
import { createServerCheck } from '@bulkhead/runtime/server-check';
import { createApi } from './app.js';
import { composeApi } from './compose.js';

/** Serves until SIGTERM or SIGINT; requests in flight are answered first. */
async function main(): Promise<void> {
  const config = loadApiConfig();
  const log = pino({ level: config.log.level, base: { process: 'api' } });
  const { address, tls, enforcesTokens } = config.temporal;
  // what it shows of Temporal is fenced by tokens alone; a server that is away is asked by others
  await createServerCheck({ address, tls, allowOpen: !enforcesTokens, log }).checkOnce();
  const composed = composeApi(config, log);
  const app = await createApi(composed.deps);
  await app.listen(config.api.port, config.api.host);
  const port = Number(new URL(await app.getUrl()).port);

  let stopping = false;
  const stop = async (signal: string): Promise<void> => {
    if (stopping) return;
    stopping = true;
    log.info({ signal }, 'stopping');
    await app.close();
    await composed.close();
    // the channel to the launcher would keep the process alive
    if (process.connected) process.disconnect();
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    stop(signal).catch((err: unknown) => {
      log.error({ err }, 'did not stop cleanly');
      process.exit(1);
    });
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);

  log.info({ port, host: config.api.host }, 'serving');
  process.send?.({ type: 'ready', port });
}

main().catch((err: unknown) => {
  // before there is a configuration there is no log level either
  pino({ base: { process: 'api' } }).fatal({ err }, 'the API could not start');
  process.exit(1);
});
