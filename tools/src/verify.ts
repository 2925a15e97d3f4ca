import { join } from 'node:path';
import { verifyTenant } from '@bulkhead/journal/control';
import type { TenantVerdict } from '@bulkhead/journal/control';
import { openControlDoor } from '@bulkhead/prisma/control';
import { loadControlConfig } from '@bulkhead/runtime/config';

/**
 * `npm run verify`: checks every tenant's journal, from its first record to its head, and each effect against its
 * records. One line per tenant; exit code 0 only when all of it holds. Reads the installation in BULKHEAD_DATA
 * (default `.data`); the database must be running.
 */
async function main(): Promise<number> {
  const dataDir = process.env['BULKHEAD_DATA'] ?? '.data';
  const { database } = loadControlConfig(join(dataDir, 'config', 'control.json'));
  const control = openControlDoor({ url: database.url, poolMax: 2, onError: () => undefined }); // a broken call throws itself
  try {
    const tenants = await control.query<{ id: string }>('SELECT id FROM tenants ORDER BY id');
    const verdicts: TenantVerdict[] = [];
    for (const { id } of tenants) verdicts.push(await verifyTenant(control, id));
    for (const verdict of verdicts) console.log(lineOf(verdict));
    return verdicts.every((verdict) => verdict.chain.ok && verdict.problems.length === 0) ? 0 : 1;
  } finally {
    await control.close();
  }
}

function lineOf({ tenantId, chain, problems }: TenantVerdict): string {
  if (!chain.ok)
    return `${tenantId}: BROKEN at record ${chain.badSeq} (${chain.why}); ${chain.records} before it are whole`;
  if (problems.length > 0)
    return `${tenantId}: ${chain.records} records are whole, but ${problems.join('; ')}`;
  return `${tenantId}: ${chain.records} records, unbroken, head ${chain.head.toString('hex').slice(0, 16)}`;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(
    `verify: ${error instanceof Error ? error.message : String(error)} (is the installation running?)`,
  );
  process.exitCode = 2;
}
