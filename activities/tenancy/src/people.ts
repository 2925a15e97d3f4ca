import { createHash } from 'node:crypto';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * The id of a person: 26 characters (130 bits) of a digest of issuer and subject, so that one person has one id in
 * every tenant and no issuer can name another's people.
 */
export function personId(issuer: string, subject: string): string {
  // a list, because a joined text could be cut in two places
  const digest = createHash('sha256')
    .update(JSON.stringify([issuer, subject]))
    .digest();
  let bits = BigInt(`0x${digest.subarray(0, 17).toString('hex')}`);
  let id = '';
  while (id.length < 26) {
    id += ALPHABET.charAt(Number(bits & 31n));
    bits >>= 5n;
  }
  return id;
}
