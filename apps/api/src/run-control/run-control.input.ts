import { registerEnumType } from '@nestjs/graphql';
import { z } from 'zod';

/** Where a reset starts again. */
export const RESET_POINTS = ['first', 'last', 'event'] as const;
export type ResetTo = (typeof RESET_POINTS)[number];
export const ResetPointEnum = Object.fromEntries(RESET_POINTS.map((point) => [point, point]));
registerEnumType(ResetPointEnum, {
  name: 'ResetPoint',
  description:
    'first: the beginning of the run; last: its last finished workflow task; event: the workflow task of eventId.',
});

/** Why somebody acts on a run: shown with the run and journalled, so it is never empty. */
export const RequestReason = z
  .string()
  .trim()
  .min(1, 'say why, in 1 to 1000 characters')
  .max(1000, 'say why, in 1 to 1000 characters');

export const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,128}$/, 'give 1 to 128 visible ASCII characters');
export const OptionalKey = IdempotencyKey.nullish();

/** An event's id in the run's last history; the first event is never a workflow task. Temporal ends a history at 51,200. */
export const EventId = z.int().min(2).max(100_000).nullish();

/** Which names a run takes, its workflow declares. */
export const SignalName = z.string().regex(/^[a-zA-Z][a-zA-Z0-9_-]{0,63}$/, 'is not the name of a signal');
