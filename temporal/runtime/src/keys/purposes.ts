/** What tenant keys seal. The purpose is authenticated: a stored result can never be opened as an approval's arguments. */
export const PURPOSES = {
  /** Facts and action that authorise saw; the same bytes stand in an effect and in the approval that it needs. */
  effectRequest: 'effect-request',
  /** Redacted outcome of an effect. */
  effectResult: 'effect-result',
  /** The call that would undo an effect. */
  effectUndo: 'effect-undo',
  /** A payload in a Temporal history: input, result, failure, signal. */
  payload: 'temporal-payload',
  /** Data key of one version of one secret. */
  secretKey: (name: string, version: number): string => `secret-key/${name}/${version}`,
} as const;
