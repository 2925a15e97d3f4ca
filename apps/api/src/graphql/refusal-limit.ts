import { createHash } from 'node:crypto';
import { proofOf } from '../auth/credentials.js';
import type { Credentials } from '../auth/principal.js';
import { CallerRate } from './caller-rate.js';
import type { PublicError } from './errors.js';

type Authorization = Credentials['authorization'];

/** What a document is told that costs work and is not carried out. */
const COUNTED = new Set([
  'BAD_USER_INPUT',
  'DOCUMENT_NOT_LISTED',
  'PAYLOAD_TOO_LARGE',
  'QUERY_TOO_COMPLEX',
  'UNSUPPORTED_MEDIA_TYPE',
]);

/**
 * How many documents of one key or token may be refused. To refuse takes milliseconds of the process that serves every
 * tenant, so who keeps sending such documents is refused before anything of theirs is read: not the body, and not whose the key is.
 */
export class RefusalLimit {
  private readonly rate: CallerRate;

  constructor(perMinute: number) {
    this.rate = new CallerRate(perMinute);
  }

  /** @throws BulkheadError TOO_MANY_REQUESTS with the limit and when the next one is taken */
  expectLeft(authorization: Authorization): void {
    const whose = whoseIs(authorization);
    if (whose !== undefined) this.rate.expectLeft(whose);
  }

  /** Counts a refusal. Requests without a proof of who sends them are nobody's, and go no further anyway. */
  note(authorization: Authorization, errors: readonly PublicError[]): void {
    const whose = whoseIs(authorization);
    if (whose === undefined) return;
    if (errors.some(({ extensions }) => COUNTED.has(extensions.code))) this.rate.spend(whose);
  }
}

/** By the proof alone, or the same key written otherwise would be another one. Proofs themselves are not kept. */
function whoseIs(authorization: Authorization): string | undefined {
  const proof = proofOf(authorization);
  if (proof === undefined) return undefined;
  // of a token the signature is what can be written otherwise: base64 has several texts for the same bytes
  const [header, claims, signature] = proof.split('.');
  const parts =
    signature === undefined ? [proof] : [header, claims, Buffer.from(signature, 'base64url').toString('hex')];
  return createHash('sha256').update(parts.join('.')).digest('base64url');
}
