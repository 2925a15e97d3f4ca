import type { Declaration } from './permission.js';

/**
 * Who may use the paths that are no handlers of Nest: they check it themselves, by what stands here. permissions.txt shows
 * them with all others, and a path of the server that is in neither turns a test red.
 */
export const DOORS = {
  '/codec/decode': { needs: 'codec:decode' },
  '/graphql': { signedInBecause: 'each field of a document has a permission of its own' },
} as const satisfies Readonly<Record<string, Declaration>>;
