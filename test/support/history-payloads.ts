import type { Payload } from '@temporalio/common';
import type { temporal } from '@temporalio/proto';

/** Every payload of a history, wherever it stands: arguments, results, failures, summaries, headers, search attributes. */
export function payloadsIn(
  value: unknown,
  place = '',
): { readonly place: string; readonly payload: Payload }[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [];
  if (isPayload(value)) return [{ place, payload: value }];
  return Object.entries(value).flatMap(([name, part]) => payloadsIn(part, `${place}.${name}`));
}

type Failure = temporal.api.failure.v1.IFailure;

/** Every failure of a history, causes included. */
export function failuresIn(
  value: unknown,
  place = '',
): { readonly place: string; readonly failure: Failure }[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [];
  const inside = Object.entries(value).flatMap(([name, part]) => failuresIn(part, `${place}.${name}`));
  return /\.(failure|cause|lastFailure)$/.test(place)
    ? [{ place, failure: value as Failure }, ...inside]
    : inside;
}

export const encodingOf = (payload: Payload): string =>
  Buffer.from(payload.metadata?.['encoding'] ?? []).toString('utf8');

function isPayload(value: object): value is Payload {
  const { metadata } = value as Payload;
  return typeof metadata === 'object' && metadata !== null && metadata['encoding'] instanceof Uint8Array;
}
