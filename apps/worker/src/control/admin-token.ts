import { readFileSync } from 'node:fs';
import type { ControlConfig } from '@bulkhead/runtime/config';
import type { TokenMinter } from '@bulkhead/runtime/tokens';

const FRESH_MS_MAX = 600_000;

/**
 * The token with which the control process speaks to Temporal: its own, for the whole cluster, minted in memory and
 * never written; or, on a server that is not ours, the one that was configured. Asked for each request.
 */
export function createAdminToken(
  config: ControlConfig['temporal'],
  minter: TokenMinter,
  nowMs: () => number,
): () => string {
  const { apiKeyFile } = config;
  const fetch =
    apiKeyFile === undefined ? () => minter.system('admin') : () => readFileSync(apiKeyFile, 'utf8').trim();
  let token = '';
  let since = Number.NEGATIVE_INFINITY;
  return () => {
    if (nowMs() - since > FRESH_MS_MAX) {
      token = fetch();
      since = nowMs();
    }
    return token;
  };
}
