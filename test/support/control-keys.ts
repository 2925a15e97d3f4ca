import { createHash, randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inject } from 'vitest';
import type { KeyFiles } from '@bulkhead/tools/stack';
import { lifecycleBundlePath } from '@bulkhead/workflows/bundle';

/**
 * Keys of a control process of a test's own. Its root of token keys is not the shared one: the processes of several
 * tests write the key file of one server, and each knows the tenants of its own database only.
 */
export function controlKeys(
  dataDir: string,
  keys: Pick<KeyFiles, 'temporalJwks' | 'envelopeSigning'> = inject('servers').keys,
): {
  temporalSigning: string;
  temporalJwks: string;
  envelopeSigning: string;
} {
  const temporalSigning = join(dataDir, 'token-root.key');
  if (!existsSync(temporalSigning))
    writeFileSync(temporalSigning, randomBytes(32).toString('base64'), { mode: 0o600 });
  return { temporalSigning, temporalJwks: keys.temporalJwks, envelopeSigning: keys.envelopeSigning };
}

/** What every control process of a test is told besides its database, server and keys. */
export const controlFolders = (
  dataDir: string,
): { bundlePath: string; exportsDir: string; lifecycleQueue: string } => ({
  bundlePath: lifecycleBundlePath(),
  exportsDir: join(dataDir, 'exports'),
  // a file's control process must not take the lifecycles of another file's database: nobody ordered them there
  lifecycleQueue: `lifecycle-${createHash('sha256').update(dataDir).digest('hex').slice(0, 16)}`,
});
