import { decodeBase64url } from './base64url.js';
import type { Envelope } from './envelope.js';
import type { FailureCode } from './failures.js';
import type { RefusedAt } from './names.js';

/** Every field of an envelope. */
export const ENVELOPE_FIELDS = [
  'v',
  'tenantId',
  'workspaceId',
  'agentId',
  'runId',
  'policyProfile',
  'quotaClass',
  'actor',
  'issuedAt',
] as const satisfies readonly (keyof Envelope)[];

/**
 * What a refused envelope may be said to differ in: its fields by name, and `envelope` (there is none), `extra` (it has
 * a field too many), `form` (it cannot be read), `signature` (it says the same and was not signed so), and of the place
 * where it was met `namespace`, `taskQueue` and `acceptance` (a child that nobody accepted). `payload`: it may be the run's
 * own, and the arguments with it are not sealed with the tenant's key.
 */
export const ENVELOPE_DIFFERENCES = [
  ...ENVELOPE_FIELDS,
  'envelope',
  'extra',
  'form',
  'signature',
  'namespace',
  'taskQueue',
  'acceptance',
  'payload',
] as const;
export type EnvelopeDifference = (typeof ENVELOPE_DIFFERENCES)[number];

/** An envelope that was refused, before any effect. */
export interface EnvelopeRefusal {
  readonly at: RefusedAt;
  readonly code: FailureCode;
  /** By name; never a value. */
  readonly differs: readonly EnvelopeDifference[];
  /** As Temporal says, not the envelope. */
  readonly workflowId: string;
  /** What was presented, to be compared with the run's own and then forgotten: it is neither logged nor stored. */
  readonly presented?: unknown;
}

/** What an envelope's text claims, unverified. undefined: it cannot be read. */
export function claimsOf(text: unknown): Partial<Envelope> | undefined {
  const payload = typeof text === 'string' ? decodeBase64url(text.split('.')[1] ?? '') : undefined;
  try {
    const claims: unknown = payload === undefined ? undefined : JSON.parse(payload);
    return typeof claims === 'object' && claims !== null && !Array.isArray(claims) ? claims : undefined;
  } catch {
    return undefined; // not JSON: as good as no envelope
  }
}

/** In what `given` is not the run's own envelope; empty when it is, letter for letter. Names only, never a value. */
export function envelopeDifferences(given: unknown, genuine: string): readonly EnvelopeDifference[] {
  if (given === genuine) return [];
  if (given === undefined || given === null || given === '') return ['envelope'];
  const claims = claimsOf(given);
  const own = claimsOf(genuine);
  if (!claims || !own) return ['form'];
  const fields = ENVELOPE_FIELDS.filter(
    (field) => JSON.stringify(claims[field]) !== JSON.stringify(own[field]),
  );
  const known: readonly string[] = ENVELOPE_FIELDS;
  const extra = Object.keys(claims).some((field) => !known.includes(field));
  const found: readonly EnvelopeDifference[] = extra ? [...fields, 'extra'] : fields;
  return found.length > 0 ? found : ['signature'];
}
