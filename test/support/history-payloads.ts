import type { Payload } from '@temporalio/common';

/** Every payload of a history, wherever it stands: arguments, results, failures, summaries, headers, search attributes. */
export function payloadsIn(
  value: unknown,
  place = '',
): { readonly place: string; readonly payload: Payload }[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [];
  if (isPayload(value)) return [{ place, payload: value }];
  return Object.entries(value).flatMap(([name, part]) => payloadsIn(part, `${place}.${name}`));
}

export const encodingOf = (payload: Payload): string =>
  Buffer.from(payload.metadata?.['encoding'] ?? []).toString('utf8');

function isPayload(value: object): value is Payload {
  const { metadata } = value as Payload;
  return typeof metadata === 'object' && metadata !== null && metadata['encoding'] instanceof Uint8Array;
}
