import { createRemoteJWKSet, customFetch, decodeJwt, errors, jwtVerify } from 'jose';
import type { FetchImplementation, JWTPayload, JWTVerifyGetKey } from 'jose';
import { z } from 'zod';
import { BulkheadError, isStorableText } from '@bulkhead/contract';
import type { IssuerConfig } from '@bulkhead/runtime/config';
import { personId } from '@bulkhead/tenancy/admin';

/** A person, as a token of a configured issuer proved. Which tenants they belong to is ours to say, not the token's. */
export interface Identity {
  readonly id: string;
  readonly issuer: string;
  readonly subject: string;
  /** Only when the issuer says that it has verified the address. */
  readonly email: string | undefined;
  readonly name: string | undefined;
  /** Tenant that the token is limited to. It selects among the person's memberships and gives none. */
  readonly tenant: string | undefined;
  readonly expiresAt: Date;
}

/** undefined when the token is not good. @throws BulkheadError IDENTITY_UNAVAILABLE when the issuer's keys cannot be read. */
export type Identify = (token: string) => Promise<Identity | undefined>;

/** Characters of a token at most. */
const TOKEN_MAX = 8192;
const CLOCK_TOLERANCE_SECONDS = 5;
const FETCH_TIMEOUT_MS = 5_000;
/** Keys that an issuer has withdrawn are good for this long at most. */
const KEYS_AGE_MAX_MS = 5 * 60_000;
/** Forged tokens with invented key ids make us ask the issuer no more often than this. */
const KEYS_COOLDOWN_MS = 10_000;
/** An issuer that does not answer is not asked again for this long. */
const FAILED_COOLDOWN_MS = 2_000;

const Claims = z.object({
  sub: z.string().min(1).max(255).refine(isStorableText),
  exp: z.number(),
  email: z.string().max(320).optional().catch(undefined),
  email_verified: z.boolean().optional().catch(undefined),
  name: z.string().max(200).optional().catch(undefined),
  tenant: z.string().max(64).optional(),
});

interface Timing {
  readonly keysCooldownMs?: number;
  readonly keysAgeMaxMs?: number;
}

/** Checks tokens of these issuers and of no others. Their keys are fetched on first use and kept. */
export function createIssuers(configs: readonly IssuerConfig[], timing: Timing = {}): Identify {
  const issuers = new Map(configs.map((config) => [config.issuer, { config, keys: keysOf(config, timing) }]));
  return async (token) => {
    const issuer = token.length > TOKEN_MAX ? undefined : issuers.get(claimedIssuer(token) ?? '');
    if (!issuer) return undefined;
    const { config, keys } = issuer;
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: config.issuer,
        audience: config.audience,
        // named here and never taken from the token: `none` and a public key used as an HMAC secret are not among them
        algorithms: [...config.algorithms],
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      });
      return identityOf(config.issuer, payload);
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined;
      throw error;
    }
  };
}

/** Which issuer a token says it is from; believed only once its key has verified it. */
function claimedIssuer(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch (error) {
    if (error instanceof errors.JOSEError) return undefined; // not a token at all
    throw error;
  }
}

function identityOf(issuer: string, payload: JWTPayload): Identity | undefined {
  const claims = Claims.safeParse(payload);
  if (!claims.success) return undefined;
  const { sub, exp, email, email_verified, name, tenant } = claims.data;
  return {
    id: personId(issuer, sub),
    issuer,
    subject: sub,
    email: email_verified ? email : undefined,
    name,
    tenant,
    expiresAt: new Date(exp * 1000),
  };
}

function keysOf(config: IssuerConfig, timing: Timing): JWTVerifyGetKey {
  const fetchOnce = calmFetch();
  let known: JWTVerifyGetKey | undefined;
  const open = async (): Promise<JWTVerifyGetKey> => {
    const url = config.jwksUri ?? (await discover(config.issuer, fetchOnce));
    return (known ??= createRemoteJWKSet(new URL(url), {
      timeoutDuration: FETCH_TIMEOUT_MS,
      cooldownDuration: timing.keysCooldownMs ?? KEYS_COOLDOWN_MS,
      cacheMaxAge: timing.keysAgeMaxMs ?? KEYS_AGE_MAX_MS,
      [customFetch]: fetchOnce,
    }));
  };
  return async (header, token) => {
    // without a name any key that fits would do, also one that the issuer keeps for something else
    if (typeof header.kid !== 'string') throw new errors.JWKSNoMatchingKey();
    try {
      return await (known ?? (await open()))(header, token);
    } catch (error) {
      if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
        throw error;
      }
      throw new BulkheadError('IDENTITY_UNAVAILABLE', {
        internal: `the keys of issuer ${config.issuer} cannot be read`,
        cause: error,
      });
    }
  };
}

class IssuerAway extends Error {
  override readonly name = 'IssuerAway';
}

/** After a failure the next calls fail at once for a while, so that requests do not pile up on an issuer that is away. */
function calmFetch(): FetchImplementation {
  let failedAt = -Infinity;
  return async (url, options) => {
    if (performance.now() - failedAt < FAILED_COOLDOWN_MS) throw new IssuerAway('it did not answer just now');
    try {
      const response = await fetch(url, options);
      if (response.status !== 200) throw new IssuerAway(`it answered with status ${response.status}`);
      return response;
    } catch (error) {
      failedAt = performance.now();
      throw error;
    }
  };
}

const Discovery = z.object({ issuer: z.string(), jwks_uri: z.url() });

async function discover(issuer: string, fetchOnce: FetchImplementation): Promise<string> {
  const response = await fetchOnce(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`, {
    method: 'GET',
    headers: new Headers({ accept: 'application/json' }),
    redirect: 'manual',
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  const found = Discovery.parse(await response.json());
  if (found.issuer !== issuer) throw new IssuerAway('its discovery document is about another issuer');
  if (!isProtected(found.jwks_uri)) throw new IssuerAway('its keys are not served over https');
  return found.jwks_uri;
}

/** https, or a machine's own loopback: keys that travel in the clear could be exchanged on the way. */
function isProtected(address: string): boolean {
  const { protocol, hostname } = new URL(address);
  return (
    protocol === 'https:' || (protocol === 'http:' && /^(127\.0\.0\.1|localhost|\[::1\])$/.test(hostname))
  );
}
