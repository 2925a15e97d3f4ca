import { z } from 'zod';
import { REFUSAL_KINDS, RUN_STATES } from '@bulkhead/contract';

/** What the plpgsql functions of the line answer; anything else is a bug and throws. */

const kind = <Kind extends string>(name: Kind) => z.strictObject({ kind: z.literal(name) });
const outcome = z.enum(['ok', ...REFUSAL_KINDS]);
const Closed = z.strictObject({
  kind: z.literal('closed'),
  outcome,
  result: z.base64().nullable(),
});

export const AdmitAnswer = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('admitted'),
    repeat: z.boolean(),
    secretVersion: z.int().nullable(),
    secretRules: z.int().nullable(),
  }),
  Closed,
  kind('indeterminate'),
  kind('held'),
  kind('fenced'),
  kind('run_ended'),
  kind('policy_moved'),
  kind('tool_moved'),
  kind('grant_stale'),
  kind('journal_lagging'),
  z.strictObject({ kind: z.literal('parked'), state: z.enum(RUN_STATES), note: z.string().nullable() }),
  z.strictObject({ kind: z.literal('approval_required'), approvalId: z.string(), expiresAt: z.string() }),
  z.strictObject({ kind: z.literal('approval_expired'), approvalId: z.string() }),
  z.strictObject({
    kind: z.literal('approval_rejected'),
    approvalId: z.string(),
    reason: z.string().nullable(),
  }),
  z.strictObject({
    kind: z.literal('budget_exceeded'),
    layer: z.string(),
    limit: z.number(),
    used: z.number(),
    resetsAt: z.string(),
  }),
  z.strictObject({
    kind: z.literal('limit_reached'),
    reason: z.strictObject({
      message: z.string(),
      rule: z.string(),
      layer: z.literal('policy'),
      limit: z.number(),
      used: z.number(),
      resetsAt: z.string().optional(),
    }),
  }),
]);
export type AdmitAnswer = z.infer<typeof AdmitAnswer>;

export const SettleAnswer = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('settled'),
    state: z.enum(['closed', 'released', 'open', 'indeterminate']),
  }),
  kind('not_holder'),
]);
export type SettleAnswer = z.infer<typeof SettleAnswer>;

export const DecideAnswer = z.discriminatedUnion('kind', [kind('recorded'), Closed, kind('indeterminate')]);
export type DecideAnswer = z.infer<typeof DecideAnswer>;
