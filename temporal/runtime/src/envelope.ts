import { createHash, createPrivateKey, createPublicKey, sign, verify } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { BoundedMap, BulkheadError, placementOf } from '@bulkhead/contract';
import type { Envelope, EnvelopeDifference, SignedEnvelope, TenantId } from '@bulkhead/contract';
import { EnvelopeSchema } from '@bulkhead/contract/schemas';

/** The envelope as a compact JWS with EdDSA over Ed25519. One algorithm, known keys, one spelling: nothing to choose. */

/** A header of a Temporal task is at most this long before anything of it is parsed. */
const LENGTH_MAX = 4096;
const TYPE = 'bulkhead-envelope+jws';
const HeaderSchema = z.strictObject({
  alg: z.literal('EdDSA'),
  typ: z.literal(TYPE),
  kid: z.string().min(1).max(100),
});
const JwksSchema = z.object({
  keys: z
    .array(
      z.looseObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519'), x: z.string(), kid: z.string() }),
    )
    .min(1),
});

export interface EnvelopeSigner {
  sign(envelope: Envelope): SignedEnvelope;
}
export interface EnvelopeVerifier {
  /** @throws BulkheadError ENVELOPE_INVALID for whatever was not signed, as it stands, by a known key. */
  verify(text: unknown): Envelope;
}

/** @param keyPath Ed25519 private key, PKCS#8 PEM. Only the API and the control process have one. */
export function createEnvelopeSigner(keyPath: string): EnvelopeSigner {
  const key = privateKey(keyPath);
  const kid = ed25519Thumbprint(createPublicKey(key).export({ format: 'jwk' }).x ?? '');
  const header = base64url(JSON.stringify({ alg: 'EdDSA', typ: TYPE, kid }));
  return {
    sign(envelope) {
      const signed = `${header}.${base64url(JSON.stringify(EnvelopeSchema.parse(envelope)))}`;
      return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}` as SignedEnvelope;
    },
  };
}

/** Envelopes kept after they were verified, of all tenants together; the one verified longest ago makes room. */
const KNOWN_MAX = 2_000;

/**
 * A run presents the same text at each of its calls, so what was verified once is remembered by its whole text, signature
 * included: one character more or less is another text and is verified.
 * @param jwksPath JWKS with the public keys that may sign; several during a rotation.
 */
export function createEnvelopeVerifier(jwksPath: string): EnvelopeVerifier {
  const keys = publicKeys(jwksPath);
  const known = new BoundedMap<string, Envelope>(KNOWN_MAX);
  return {
    verify(text) {
      if (text === undefined || text === null || text === '') throw invalid('no envelope', 'envelope');
      if (typeof text !== 'string' || text.length > LENGTH_MAX) throw invalid('not a text, or too long');
      const before = known.get(text);
      if (before) return before;
      // frozen, because everyone who presents this text gets this object
      const envelope = Object.freeze(verified(text, keys));
      known.set(text, envelope);
      return envelope;
    },
  };
}

function verified(text: string, keys: ReadonlyMap<string, KeyObject>): Envelope {
  const [header = '', payload = '', signature = '', ...rest] = text.split('.');
  if (rest.length > 0) throw invalid('not three parts');
  const parsed = HeaderSchema.safeParse(json(header));
  if (!parsed.success) throw invalid('header is not ours');
  const key = keys.get(parsed.data.kid);
  if (!key) throw invalid('unknown key', 'signature');
  if (!verify(null, Buffer.from(`${header}.${payload}`), key, bytes(signature)))
    throw invalid('bad signature', 'signature');
  const envelope = EnvelopeSchema.safeParse(json(payload));
  if (!envelope.success) throw invalid('payload is not an envelope');
  return envelope.data;
}

/** Where a task was met: the Worker's own tenant, and what Temporal says about the task. */
export interface TaskPlace {
  readonly tenantId: TenantId;
  readonly namespace: string;
  readonly taskQueue: string;
  readonly workflowId: string;
}

/**
 * Opens an envelope where it is presented. A genuine one of another tenant or another run is refused as well: it may
 * have been copied.
 * @throws BulkheadError ENVELOPE_INVALID, or ENVELOPE_MISMATCH when it is genuine but does not belong here; `field` is the
 *   EnvelopeDifference.
 */
export function openEnvelope(verifier: EnvelopeVerifier, text: unknown, place: TaskPlace): Envelope {
  const envelope = verifier.verify(text);
  const home = placementOf(envelope.tenantId);
  const wrong: EnvelopeDifference | false =
    (envelope.tenantId !== place.tenantId && 'tenantId') ||
    (home.namespace !== place.namespace && 'namespace') ||
    (home.taskQueue !== place.taskQueue && home.expensiveQueue !== place.taskQueue && 'taskQueue') ||
    // exactly: work that a run starts by itself, a child, was never accepted
    (envelope.runId !== place.workflowId && 'runId') ||
    (!envelope.runId.startsWith(`${envelope.tenantId}.`) && 'tenantId');
  if (wrong) {
    throw new BulkheadError('ENVELOPE_MISMATCH', {
      internal: `the envelope's ${wrong} is not the task's`,
      field: wrong,
    });
  }
  return envelope;
}

function publicKeys(jwksPath: string): Map<string, KeyObject> {
  const parsed = JwksSchema.safeParse(JSON.parse(readFileSync(jwksPath, 'utf8')));
  if (!parsed.success) throw misconfigured(`${jwksPath} is not a set of Ed25519 keys`);
  return new Map(
    parsed.data.keys.map(({ kid, kty, crv, x }) => {
      if (kid !== ed25519Thumbprint(x)) throw misconfigured(`${jwksPath}: a kid is not its key's thumbprint`);
      return [kid, createPublicKey({ key: { kty, crv, x }, format: 'jwk' })];
    }),
  );
}

function privateKey(keyPath: string): KeyObject {
  const key = createPrivateKey(readFileSync(keyPath));
  if (key.asymmetricKeyType !== 'ed25519') throw misconfigured(`${keyPath} is not an Ed25519 key`);
  return key;
}

/** RFC 7638: the members in lexicographic order, no white space. */
const ed25519Thumbprint = (x: string): string =>
  createHash('sha256').update(`{"crv":"Ed25519","kty":"OKP","x":"${x}"}`).digest('base64url');

const base64url = (text: string): string => Buffer.from(text).toString('base64url');

/** Decodes the one canonical spelling only: Node ignores stray characters, and one envelope must have one text. */
function bytes(part: string): Buffer {
  const decoded = Buffer.from(part, 'base64url');
  if (part === '' || decoded.toString('base64url') !== part) throw invalid('not base64url');
  return decoded;
}

function json(part: string): unknown {
  try {
    return JSON.parse(bytes(part).toString('utf8'));
  } catch (error) {
    throw error instanceof BulkheadError ? error : invalid('not JSON');
  }
}

const invalid = (internal: string, field: EnvelopeDifference = 'form'): BulkheadError =>
  new BulkheadError('ENVELOPE_INVALID', { internal, field });
const misconfigured = (internal: string): BulkheadError =>
  new BulkheadError('WORKER_MISCONFIGURED', { internal });
