import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buildRunId, tenantId } from '@bulkhead/contract';
import type { RunId } from '@bulkhead/contract';
import type { TenantWorld } from './tenant-world.js';

/** What stands in the header where the run's own signed envelope must stand; undefined: nothing. */
export type Forgery = (runId: RunId) => unknown;

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
const signWith = (key: KeyObject, header: string, payload: string): string =>
  `${header}.${payload}.${sign(null, Buffer.from(`${header}.${payload}`), key).toString('base64url')}`;

/** Other values of each field that are well formed, so that only the check of that field can refuse them. */
const OTHER: Record<string, unknown> = {
  v: 2,
  tenantId: 'globex',
  workspaceId: 'other',
  agentId: 'other-agent',
  runId: 'globex.run.01kb3v6r2e8m4q7x9z0a1b2c3d',
  policyProfile: 'generous',
  quotaClass: 'unlimited',
  actor: 'user:root',
  issuedAt: 1,
};

/**
 * Ways to remove, alter and swap an envelope: each field removed or altered under the old signature, signed by a key
 * of the attacker's own, or, where a stolen key is assumed, signed for real but missing, misplaced or out of version.
 */
export function forgeriesFor(world: TenantWorld, signingKeyPath: string): Record<string, Forgery> {
  const own = generateKeyPairSync('ed25519').privateKey;
  const real = createPrivateKey(readFileSync(signingKeyPath));
  const parts = (runId: RunId): [string, string, string] => {
    const [header = '', payload = '', signature = ''] = world.envelopeOf(runId).split('.');
    return [header, payload, signature];
  };
  const changed = (runId: RunId, change: (claims: Record<string, unknown>) => void): string => {
    const claims = decode(parts(runId)[1]);
    change(claims);
    return encode(claims);
  };
  const forgeries: Record<string, Forgery> = {
    'no envelope': () => undefined,
    'an empty text': () => '',
    'a number': () => 7,
    null: () => null,
    'an object': (runId) => decode(parts(runId)[1]),
    'no signature': (runId) => parts(runId).slice(0, 2).join('.'),
    'an empty signature': (runId) => `${parts(runId).slice(0, 2).join('.')}.`,
    'four parts': (runId) => `${world.envelopeOf(runId)}.x`,
    'alg none': (runId) => `${encode({ alg: 'none', typ: 'bulkhead-envelope+jws' })}.${parts(runId)[1]}.`,
    'a bit of the signature': (runId) => {
      const [header, payload, signature] = parts(runId);
      return `${header}.${payload}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
    },
    'the payload respelled': (runId) => {
      const [header, payload, signature] = parts(runId);
      const spaced = Buffer.from(JSON.stringify(decode(payload), null, 1)).toString('base64url');
      return `${header}.${spaced}.${signature}`;
    },
    'an unknown key': (runId) =>
      signWith(own, encode({ ...decode(parts(runId)[0]), kid: 'mine' }), parts(runId)[1]),
    'a key of our own under the known name': (runId) => signWith(own, parts(runId)[0], parts(runId)[1]),
    "another run's": () => world.envelopeOf(world.newRunId()),
    "another tenant's": (runId) => world.envelopeOf(runId, { tenantId: tenantId('globex') }),
    "another tenant's run": () => {
      const globex = tenantId('globex');
      const runId = buildRunId(globex, world.newRunId().split('.')[2] ?? '');
      return world.envelopeOf(runId, { tenantId: globex });
    },
    'a field too many, signed': (runId) =>
      signWith(
        real,
        parts(runId)[0],
        changed(runId, (claims) => (claims['admin'] = true)),
      ),
    'version 2, signed': (runId) =>
      signWith(
        real,
        parts(runId)[0],
        changed(runId, (claims) => (claims['v'] = 2)),
      ),
  };
  for (const [field, value] of Object.entries(OTHER)) {
    forgeries[`${field} altered`] = (runId) => {
      const [header, , signature] = parts(runId);
      return `${header}.${changed(runId, (claims) => (claims[field] = value))}.${signature}`;
    };
    forgeries[`${field} altered, our own key`] = (runId) =>
      signWith(
        own,
        parts(runId)[0],
        changed(runId, (claims) => (claims[field] = value)),
      );
    forgeries[`${field} removed`] = (runId) => {
      const [header, , signature] = parts(runId);
      return `${header}.${changed(runId, (claims) => delete claims[field])}.${signature}`;
    };
    forgeries[`${field} removed, signed`] = (runId) =>
      signWith(
        real,
        parts(runId)[0],
        changed(runId, (claims) => delete claims[field]),
      );
  }
  return forgeries;
}

/**
 * The run's own envelope with one other value, signed for real: what a stolen key, or a second minting, would make. At
 * the start nothing but the key tells it from an accepted one; sent to a run that has started it is another text.
 */
export function remintedFor(world: TenantWorld, signingKeyPath: string): Record<string, Forgery> {
  const real = createPrivateKey(readFileSync(signingKeyPath));
  return Object.fromEntries(
    Object.entries(OTHER).map(([field, value]) => [
      `${field} altered, signed`,
      (runId: RunId) => {
        const [header = '', payload = ''] = world.envelopeOf(runId).split('.');
        return signWith(real, header, encode({ ...decode(payload), [field]: value }));
      },
    ]),
  );
}
