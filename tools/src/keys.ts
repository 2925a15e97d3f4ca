import { createPublicKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { openTokenRoot, PLATFORM } from '@bulkhead/runtime/token-keys';
import { calculateJwkThumbprint, exportJWK } from 'jose';

/** Paths of every key of an installation. Who may read which is in docs/security-model.md. */
export interface KeyFiles {
  /** 32 random bytes, base64: wraps the tenants' keys. API and hosts. */
  readonly master: string;
  /** Ed25519, PKCS#8: signs envelopes. API and control. */
  readonly envelopeSigning: string;
  /** JWKS with the public half. Hosts. */
  readonly envelopePublic: string;
  /** 32 random bytes, base64: root of the keys that sign Temporal tokens. Control only. */
  readonly temporalSigning: string;
  /** JWKS that the Temporal server reads; the control process keeps it up to date. */
  readonly temporalJwks: string;
  /** Passwords of the two database logins. */
  readonly appPassword: string;
  readonly controlPassword: string;
}

/** Makes what is missing, once, each file 0600; what exists is never changed. */
export async function ensureKeys(folder: string): Promise<KeyFiles> {
  await privateFolder(folder);
  const at = (name: string): string => join(folder, name);
  const files: KeyFiles = {
    master: at('master.key'),
    envelopeSigning: at('envelope-signing.pem'),
    envelopePublic: at('envelope-public.json'),
    temporalSigning: at('temporal-root.key'),
    temporalJwks: at('temporal-token-keys.json'),
    appPassword: at('database-app.password'),
    controlPassword: at('database-control.password'),
  };
  await once(files.master, () => randomBytes(32).toString('base64'));
  await once(files.envelopeSigning, () => pem(generateKeyPairSync('ed25519').privateKey));
  await once(files.temporalSigning, () => randomBytes(32).toString('base64'));
  await once(files.envelopePublic, () => jwks(files.envelopeSigning));
  await once(files.temporalJwks, () => firstTokenKey(files.temporalSigning));
  await once(files.appPassword, () => randomBytes(24).toString('base64url'));
  await once(files.controlPassword, () => randomBytes(24).toString('base64url'));
  return files;
}

/** Writes a file that only its owner may read, all of it or nothing: a reader never sees half a key. */
export async function writePrivate(path: string, content: string): Promise<void> {
  await privateFolder(dirname(path));
  const temporary = `${path}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, content, { mode: 0o600 });
  await rename(temporary, path);
  await chmod(path, 0o600);
}

/** Only the folder itself is closed: PostgreSQL may run as another user and must be able to walk past it. */
async function privateFolder(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await mkdir(path, { recursive: true, mode: 0o700 });
}

/** Writes the file unless it is there. */
export async function once(path: string, make: () => string | Promise<string>): Promise<void> {
  try {
    await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    await writePrivate(path, await make());
  }
}

const pem = (key: KeyObject): string => key.export({ type: 'pkcs8', format: 'pem' }).toString();

async function jwks(signingFile: string): Promise<string> {
  const jwk = await exportJWK(createPublicKey(await readFile(signingFile)));
  return JSON.stringify({
    keys: [{ ...jwk, kid: await calculateJwkThumbprint(jwk), alg: 'EdDSA', use: 'sig' }],
  });
}

/** The platform's first key: with a token of it the control process reaches a server that knows no other yet. */
const firstTokenKey = (rootFile: string): string =>
  JSON.stringify({ keys: [openTokenRoot(rootFile).key(PLATFORM, 1).jwk] });
