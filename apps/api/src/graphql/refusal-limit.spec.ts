import { expect, it } from 'vitest';
import { BulkheadError } from '@bulkhead/contract';
import { publicErrors } from './errors.js';
import { RefusalLimit } from './refusal-limit.js';

const errors = publicErrors(new BulkheadError('PAYLOAD_TOO_LARGE'), { error: () => undefined } as never);
const TOO_MANY = expect.objectContaining({ code: 'TOO_MANY_REQUESTS' });
/** 256 bytes, as of RS256: the last character has four bits that mean nothing. */
const SIGNATURE = Buffer.alloc(256, 0xfb).toString('base64url');

it.each([
  ['in the other alphabet', SIGNATURE.replaceAll('-', '+').replaceAll('_', '/')],
  ['with padding', `${SIGNATURE}==`],
  ['with other bits at the end', `${SIGNATURE.slice(0, -1)}${SIGNATURE.endsWith('w') ? 'x' : 'w'}`],
])('a token is the same with its signature %s', (_what, signature) => {
  const limit = new RefusalLimit(1);
  limit.note(`Bearer e30.e30.${SIGNATURE}`, errors);
  expect(() => limit.expectLeft(`Bearer e30.e30.${signature}`)).toThrow(TOO_MANY);
  expect(() => limit.expectLeft(`Bearer e30.e31.${signature}`)).not.toThrow();
});

it('what is no proof is nobody’s', () => {
  const limit = new RefusalLimit(1);
  for (const text of [undefined, '', 'Basic eDp5', 'Bearer', 'Bearer a b']) {
    limit.note(text, errors);
    expect(() => limit.expectLeft(text)).not.toThrow();
  }
});
