import { generateKeyPairSync, sign } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { calculateJwkThumbprint, compactVerify, exportJWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { agentId, BulkheadError, buildRunId, tenantId, workspaceId } from '@bulkhead/contract';
import type { Envelope } from '@bulkhead/contract';
import { createEnvelopeSigner, createEnvelopeVerifier, openEnvelope } from './envelope.js';
import type { EnvelopeSigner, EnvelopeVerifier, TaskPlace } from './envelope.js';

const ULID = '01kb3v6r2e8m4q7x9z0a1b2c3d';
const ACME = tenantId('acme');
const ENVELOPE: Envelope = {
  v: 1,
  tenantId: ACME,
  workspaceId: workspaceId('main'),
  agentId: agentId('support-triage'),
  runId: buildRunId(ACME, ULID),
  policyProfile: 'default',
  quotaClass: 'standard',
  actor: 'key:abcd1234',
  issuedAt: 1_790_000_000,
};
const PLACE: TaskPlace = {
  tenantId: ACME,
  namespace: 'tnt-acme',
  taskQueue: 'tnt-acme.agents',
  workflowId: ENVELOPE.runId,
};

let folder: string;
let signer: EnvelopeSigner;
let verifier: EnvelopeVerifier;
let strangerSigner: EnvelopeSigner;
let publicKeyText: string;
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part: string | undefined): Record<string, unknown> =>
  JSON.parse(Buffer.from(part ?? '', 'base64url').toString()) as Record<string, unknown>;

async function newKey(name: string) {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const file = join(folder, `${name}.pem`);
  writeFileSync(file, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  const jwk = await exportJWK(publicKey);
  return {
    file,
    privateKey,
    publicKey,
    jwk: { ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'EdDSA' },
  };
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'envelope-'));
  const ours = await newKey('ours');
  const stranger = await newKey('stranger');
  const jwks = join(folder, 'jwks.json');
  publicKeyText = JSON.stringify({ keys: [ours.jwk] });
  writeFileSync(jwks, publicKeyText);
  signer = createEnvelopeSigner(ours.file);
  strangerSigner = createEnvelopeSigner(stranger.file);
  verifier = createEnvelopeVerifier(jwks);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The code with which a text is refused, or `opened`. */
function codeOf(text: unknown): string {
  try {
    openEnvelope(verifier, text, PLACE);
    return 'opened';
  } catch (error) {
    if (error instanceof BulkheadError) return error.code;
    throw error;
  }
}
const INVALID = 'ENVELOPE_INVALID';

describe('an envelope that was verified before', () => {
  it('is the same object, which nobody can change for the others', () => {
    const text = signer.sign(ENVELOPE);
    const opened = verifier.verify(text);
    expect(verifier.verify(text)).toBe(opened);
    expect(opened).toEqual(ENVELOPE);
    expect(() => Object.assign(opened, { tenantId: 'globex' })).toThrow(TypeError);
  });

  it('opens no other text: any character changed, cut or added is refused as before', () => {
    const text = signer.sign(ENVELOPE);
    verifier.verify(text);
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.string({ minLength: 0, maxLength: 2 }), (at, put) => {
        const other = text.slice(0, at) + put + text.slice(at + 1);
        expect(codeOf(other)).toBe(other === text ? 'opened' : INVALID);
      }),
    );
  });

  it("is still refused at another tenant's or another run's place", () => {
    const text = signer.sign(ENVELOPE);
    verifier.verify(text);
    const elsewhere = { ...PLACE, workflowId: buildRunId(ACME, ULID.replace('3d', '3e')) };
    expect(() => openEnvelope(verifier, text, elsewhere)).toThrow(/runId is not the task's/);
  });

  it('is verified anew when too many came after it', () => {
    const first = verifier.verify(signer.sign(ENVELOPE));
    for (let at = 0; at < 2_000; at += 1) {
      verifier.verify(signer.sign({ ...ENVELOPE, issuedAt: ENVELOPE.issuedAt + 1 + at }));
    }
    const again = verifier.verify(signer.sign(ENVELOPE));
    expect(again).toEqual(first);
    expect(again).not.toBe(first);
  });
});

describe('a signed envelope', () => {
  it('is opened where it belongs, unchanged', () => {
    expect(openEnvelope(verifier, signer.sign(ENVELOPE), PLACE)).toEqual(ENVELOPE);
  });

  it('is a standard JWS that another implementation verifies', async () => {
    const { importJWK } = await import('jose');
    const [jwk] = (JSON.parse(publicKeyText) as { keys: [object] }).keys;
    const { payload } = await compactVerify(signer.sign(ENVELOPE), await importJWK(jwk, 'EdDSA'));
    expect(JSON.parse(Buffer.from(payload).toString())).toEqual(ENVELOPE);
  });

  it('attack: does not open for a child that the run started by itself: nobody accepted it', () => {
    const place = { ...PLACE, workflowId: `${ENVELOPE.runId}/0.1` };
    expect(() => openEnvelope(verifier, signer.sign(ENVELOPE), place)).toThrow(/runId is not the task's/);
  });
});

describe('an attacker who writes the header', () => {
  it('cannot choose the algorithm none', () => {
    const [, payload] = signer.sign(ENVELOPE).split('.');
    const header = { ...decode(signer.sign(ENVELOPE).split('.')[0]), alg: 'none' };
    expect(codeOf(`${encode(header)}.${payload}.`)).toBe(INVALID);
    expect(codeOf(`${encode(header)}.${payload}.AA`)).toBe(INVALID);
  });

  it('cannot use the public key as an HMAC secret', async () => {
    const { createHmac } = await import('node:crypto');
    const [header, payload] = signer.sign(ENVELOPE).split('.');
    const confused = `${encode({ ...decode(header), alg: 'HS256' })}.${payload}`;
    expect(
      codeOf(`${confused}.${createHmac('sha256', publicKeyText).update(confused).digest('base64url')}`),
    ).toBe(INVALID);
  });

  it('cannot swap the tenant of a genuine envelope', () => {
    const [header, payload, signature] = signer.sign(ENVELOPE).split('.');
    expect(codeOf(`${header}.${encode({ ...decode(payload), tenantId: 'globex' })}.${signature}`)).toBe(
      INVALID,
    );
  });

  it('cannot sign with a key of his own, under his kid or under ours', () => {
    expect(codeOf(strangerSigner.sign(ENVELOPE))).toBe(INVALID);
    const [ours] = signer.sign(ENVELOPE).split('.');
    const [, payload] = strangerSigner.sign(ENVELOPE).split('.');
    const { privateKey } = generateKeyPairSync('ed25519');
    expect(
      codeOf(
        `${ours}.${payload}.${sign(null, Buffer.from(`${ours}.${payload}`), privateKey).toString('base64url')}`,
      ),
    ).toBe(INVALID);
  });

  it('cannot embed a key, or anything else, in the header', () => {
    const [header, payload, signature] = signer.sign(ENVELOPE).split('.');
    expect(codeOf(`${encode({ ...decode(header), jwk: { kty: 'OKP' } })}.${payload}.${signature}`)).toBe(
      INVALID,
    );
    expect(
      codeOf(`${encode({ ...decode(header), crit: ['b64'], b64: false })}.${payload}.${signature}`),
    ).toBe(INVALID);
  });

  it('cannot leave it out, cut it short or send something huge', () => {
    const signed = signer.sign(ENVELOPE);
    for (const text of [
      undefined,
      null,
      7,
      '',
      '..',
      signed.slice(0, -1),
      signed.slice(1),
      `${signed}.x`,
      'a'.repeat(1e6),
    ])
      expect(codeOf(text)).toBe(INVALID);
  });

  it('cannot give one envelope a second spelling', () => {
    const signed = signer.sign(ENVELOPE);
    expect(codeOf(`${signed}=`)).toBe(INVALID);
    expect(codeOf(`${signed} `)).toBe(INVALID);
    expect(codeOf(signed.replace('.', '.\n'))).toBe(INVALID);
  });

  it('cannot change any single character', () => {
    const signed = signer.sign(ENVELOPE);
    fc.assert(
      fc.property(fc.nat(signed.length - 1), fc.string({ minLength: 1, maxLength: 1 }), (at, character) => {
        fc.pre(signed[at] !== character);
        expect(codeOf(signed.slice(0, at) + character + signed.slice(at + 1))).toBe(INVALID);
      }),
    );
  });
});

describe('an attacker who copies a genuine envelope', () => {
  it.each([
    ['to another tenant’s Worker', { tenantId: tenantId('globex') }],
    ['to another namespace', { namespace: 'tnt-globex' }],
    ['to another queue', { taskQueue: 'tnt-globex.agents' }],
    ['to another tenant’s queue of expensive tools', { taskQueue: 'tnt-globex.expensive' }],
    ['to a queue that is none of ours', { taskQueue: 'tnt-acme.other' }],
    ['to another run of the same tenant', { workflowId: buildRunId(ACME, `${ULID.slice(0, -1)}e`) }],
    ['to a workflow that is not a run', { workflowId: 'something-else' }],
  ])('%s is refused', (_name, moved) => {
    expect(() => openEnvelope(verifier, signer.sign(ENVELOPE), { ...PLACE, ...moved })).toThrow(
      expect.objectContaining({ code: 'ENVELOPE_MISMATCH' }),
    );
  });

  it('of a tenant that claims another tenant’s run is refused', () => {
    const foreign = { ...ENVELOPE, runId: buildRunId(tenantId('globex'), ULID) };
    expect(() =>
      openEnvelope(verifier, signer.sign(foreign), { ...PLACE, workflowId: foreign.runId }),
    ).toThrow(expect.objectContaining({ code: 'ENVELOPE_MISMATCH' }));
  });
});

it('a set of keys whose kid is not the key’s own thumbprint is not accepted', async () => {
  const { jwk } = await newKey('renamed');
  const file = join(folder, 'renamed.json');
  writeFileSync(file, JSON.stringify({ keys: [{ ...jwk, kid: 'anything' }] }));
  expect(() => createEnvelopeVerifier(file)).toThrow(/thumbprint/);
});
