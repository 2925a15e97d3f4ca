import { z } from 'zod';

/** What a policy says about keeping, beside its rules. All of it is optional: what is left out stays as it always was. */

export const KEEPING = ['kept', 'digest'] as const;
export const READS = ['unrecorded', 'recorded'] as const;
/** Ten years. */
const DAYS_MAX = 3_650;
const BOUND = `is a whole number of days from 0 to ${DAYS_MAX}; leave it out to keep without an end`;

const Audit = z.strictObject({
  /** Whether the arguments of a call are kept, sealed, with its entry; `digest`: only what proves them. */
  arguments: z
    .enum(KEEPING, { error: 'is kept (sealed, with the call) or digest (only what proves them)' })
    .optional(),
  /** Whether the journal says who was told the content of a run, before they are. */
  reads: z
    .enum(READS, { error: 'is unrecorded or recorded (each read has a record in the journal)' })
    .optional(),
});

/** Whole days after the end of a run; 0: a minute. */
const Days = z.int({ error: BOUND }).min(0, BOUND).max(DAYS_MAX, BOUND).optional();

const Retention = z.strictObject({
  /** Arguments of calls, what approvals showed of them, and the calls that would undo them. */
  argumentsDays: Days,
  /** Answers of calls. Without them a run cannot be reset. */
  answersDays: Days,
  /** What a run was started with, what signals carried to it, and what it gave back. */
  runsDays: Days,
});

export const SettingsSchema = z
  .strictObject({ audit: Audit.optional(), retention: Retention.optional() })
  .refine(({ audit, retention }) => audit?.arguments !== 'digest' || retention?.argumentsDays === undefined, {
    message: 'has nothing to keep while audit.arguments is digest: leave out one of the two',
    path: ['retention', 'argumentsDays'],
  });

type Settings = z.infer<typeof SettingsSchema>;

/** The settings of a document, with what it leaves out. Days count from the end of a run; undefined: for ever. */
export interface PolicySettings {
  readonly arguments: (typeof KEEPING)[number];
  readonly reads: (typeof READS)[number];
  readonly argumentsDays: number | undefined;
  readonly answersDays: number | undefined;
  readonly runsDays: number | undefined;
}

/** Where a document has each setting. */
export const SETTING_PATHS = {
  arguments: 'audit.arguments',
  reads: 'audit.reads',
  argumentsDays: 'retention.argumentsDays',
  answersDays: 'retention.answersDays',
  runsDays: 'retention.runsDays',
} as const satisfies Record<keyof PolicySettings, string>;

/** What holds: each setting has a value, whether the document names it or not. */
export function settingsOf({ settings }: { readonly settings?: Settings | undefined }): PolicySettings {
  const { argumentsDays, answersDays, runsDays } = settings?.retention ?? {};
  const { arguments: keeping = 'kept', reads = 'unrecorded' } = settings?.audit ?? {};
  return { arguments: keeping, reads, argumentsDays, answersDays, runsDays };
}

/** The settings of a document that may hold anything; undefined: they cannot be read. */
export function readSettings(document: unknown): PolicySettings | undefined {
  const { settings } = (document ?? {}) as { readonly settings?: unknown };
  const parsed = SettingsSchema.optional().safeParse(settings);
  return parsed.success ? settingsOf({ settings: parsed.data }) : undefined;
}
