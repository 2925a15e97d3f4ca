import { createHash } from 'node:crypto';
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
    if (authorization !== undefined) this.rate.expectLeft(digest(authorization));
  }

  /** Counts a refusal. Requests without a proof of who sends them are nobody's, and go no further anyway. */
  note(authorization: Authorization, errors: readonly PublicError[]): void {
    if (authorization === undefined) return;
    if (errors.some(({ extensions }) => COUNTED.has(extensions.code))) this.rate.spend(digest(authorization));
  }
}

/** Proofs themselves are not kept. */
const digest = (authorization: string): string =>
  createHash('sha256').update(authorization).digest('base64url');
