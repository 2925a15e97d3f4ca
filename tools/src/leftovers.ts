import { join } from 'node:path';
import { endLeftovers } from '@bulkhead/temporal-server';

/**
 * Ends what a killed launcher left behind on this data folder. Temporal first: without its database it would not end by
 * itself, and a server that is killed stays in the membership table, where the next one waits for it.
 * @throws AlreadyRunning while that launcher still runs
 */
export async function endEarlierStart(dataDir: string, log: (line: string) => void): Promise<void> {
  await endLeftovers(join(dataDir, 'temporal', 'logs'), log);
  await endLeftovers(join(dataDir, 'logs'), log);
}
