import { z } from 'zod';

/** What a policy says about keeping, beside its rules. All of it is optional: what is left out stays as it always was. */

export const KEEPING = ['kept', 'digest'] as const;

const Audit = z.strictObject({
  /** Whether the arguments of a call are kept, sealed, with its entry; `digest`: only what proves them. */
  arguments: z
    .enum(KEEPING, { error: 'is kept (sealed, with the call) or digest (only what proves them)' })
    .optional(),
});

export const SettingsSchema = z.strictObject({ audit: Audit.optional() });

type Settings = z.infer<typeof SettingsSchema>;

/** The settings of a document, with what it leaves out. */
export interface PolicySettings {
  readonly arguments: (typeof KEEPING)[number];
}

/** Where a document has each setting. */
export const SETTING_PATHS = { arguments: 'audit.arguments' } as const satisfies Record<
  keyof PolicySettings,
  string
>;

/** What holds: each setting has a value, whether the document names it or not. */
export function settingsOf({ settings }: { readonly settings?: Settings | undefined }): PolicySettings {
  return { arguments: settings?.audit?.arguments ?? 'kept' };
}

/** The settings of a document that may hold anything; undefined: they cannot be read. */
export function readSettings(document: unknown): PolicySettings | undefined {
  const { settings } = (document ?? {}) as { readonly settings?: unknown };
  const parsed = SettingsSchema.optional().safeParse(settings);
  return parsed.success ? settingsOf({ settings: parsed.data }) : undefined;
}
