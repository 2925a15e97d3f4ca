import type { Json } from '@bulkhead/contract';

/** Why calls of a tool are answered `provider_unavailable` for a while, without being sent. */
export interface Hold {
  readonly kind: 'provider_cooldown' | 'circuit_open';
  readonly message: string;
  /** Milliseconds of the epoch. */
  readonly untilMs: number;
}

/** A row's hold, for the matcher. */
export function holdOf(row: { readonly heldUntil: Date | null; readonly held: unknown }): Hold | undefined {
  if (row.heldUntil === null) return undefined;
  const held = row.held as { readonly [name: string]: Json } | null;
  return {
    kind: held?.['kind'] === 'circuit_open' ? 'circuit_open' : 'provider_cooldown',
    message: typeof held?.['message'] === 'string' ? held['message'] : 'The tool asked for a pause.',
    untilMs: row.heldUntil.getTime(),
  };
}
