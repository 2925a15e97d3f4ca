import { readFileSync } from 'node:fs';
import type { ControlConfig } from '@bulkhead/runtime/config';
import type { TokenMinter } from '@bulkhead/runtime/tokens';
import type { TokenService } from './token-service.js';

/**
 * A token of the control process's own, minted in memory and never written; or, on a server that is not ours, the one
 * that was configured. Asked for each request; replaced when half of its life is over or another key signs.
 */
export function createOwnToken(
  config: ControlConfig['temporal'],
  tokens: Pick<TokenService, 'minter' | 'platformGeneration'>,
  mint: (minter: TokenMinter) => string,
): () => string {
  const { apiKeyFile, tokenTtlSeconds } = config;
  const fetch =
    apiKeyFile === undefined ? () => mint(tokens.minter) : () => readFileSync(apiKeyFile, 'utf8').trim();
  let token = '';
  let since = Number.NEGATIVE_INFINITY;
  let generation = 0;
  return () => {
    if (performance.now() - since > tokenTtlSeconds * 500 || generation !== tokens.platformGeneration()) {
      token = fetch();
      since = performance.now();
      generation = tokens.platformGeneration();
    }
    return token;
  };
}
