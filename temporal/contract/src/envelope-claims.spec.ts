import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { claimsOf, ENVELOPE_FIELDS, envelopeDifferences } from './envelope-claims.js';

const CLAIMS = {
  v: 1,
  tenantId: 'acme',
  workspaceId: 'main',
  agentId: 'support-triage',
  runId: 'acme.run.01kb3v6r2e8m4q7x9z0a1b2c3d',
  policyProfile: 'default',
  quotaClass: 'standard',
  actor: 'key:abcd',
  issuedAt: 1_790_000_000,
};
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const textOf = (claims: object, signature = 'c2ln'): string => `aGVhZA.${encode(claims)}.${signature}`;
const GENUINE = textOf(CLAIMS);

describe('in what an envelope differs', () => {
  it('is nothing for the very same text', () => {
    expect(envelopeDifferences(GENUINE, GENUINE)).toEqual([]);
  });

  it.each(ENVELOPE_FIELDS)('is %s when it is removed or altered, and never its value', (field) => {
    const { [field]: _, ...without } = CLAIMS;
    for (const claims of [without, { ...CLAIMS, [field]: 'c4n4ry' }]) {
      expect(envelopeDifferences(textOf(claims), GENUINE)).toEqual([field]);
    }
  });

  it('is the signature when it says the same', () => {
    expect(envelopeDifferences(textOf(CLAIMS, 'b3RoZXI'), GENUINE)).toEqual(['signature']);
  });

  it('is said by known names only: a name of the attacker’s choice is `extra`', () => {
    expect(envelopeDifferences(textOf({ ...CLAIMS, 's3cret-name': 1 }), GENUINE)).toEqual(['extra']);
  });

  it('attack: nothing that can stand in a header makes it throw, or is taken for the genuine one', () => {
    const anything = fc.oneof(
      fc.anything(),
      fc.string(),
      fc.jsonValue().map((value) => `a.${encode(value)}.c`),
      fc.string().map((text) => `a.${Buffer.from(text).toString('base64url')}.c`),
    );
    fc.assert(
      fc.property(anything, (given) => {
        fc.pre(given !== GENUINE);
        expect(envelopeDifferences(given, GENUINE).length).toBeGreaterThan(0);
      }),
    );
  });

  it('is unreadable for what is not an object', () => {
    for (const given of ['a', 'a.b', 7, {}, `a.${encode([1])}.c`, `a.${encode(null)}.c`]) {
      expect(claimsOf(given)).toBeUndefined();
      expect(envelopeDifferences(given, GENUINE)).toEqual(['form']);
    }
  });
});
