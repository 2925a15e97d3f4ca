import { readFileSync } from 'node:fs';
import type { ControlConfig } from '@bulkhead/runtime/config';
import type { TokenService } from './token-service.js';

/**
 * The token with which the control process speaks to Temporal: its own, for the whole cluster, minted in memory and
 * never written; or, on a server that is not ours, the one that was configured. Asked for each request; replaced when
 * half of its life is over or another key signs.
 */
export function createAdminToken(
  config: ControlConfig['temporal'],
  tokens: Pick<TokenService, 'minter' | 'platformGeneration'>,
  nowMs: () => number,
): () => string {
  const { apiKeyFile, tokenTtlSeconds } = config;
  const fetch =
    apiKeyFile === undefined
      ? () => tokens.minter.system('admin')
      : () => readFileSync(apiKeyFile, 'utf8').trim();
  let token = '';
  let since = Number.NEGATIVE_INFINITY;
  let generation = 0;
  return () => {
    if (nowMs() - since > tokenTtlSeconds * 500 || generation !== tokens.platformGeneration()) {
      token = fetch();
      since = nowMs();
      generation = tokens.platformGeneration();
    }
    return token;
  };
}
