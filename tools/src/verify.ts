import { parseArgs } from 'node:util';
import { verifyTenant } from '@bulkhead/journal/control';
import type { TenantVerdict } from '@bulkhead/journal/control';
import { openControlDoor } from '@bulkhead/prisma/control';
import { loadControlConfig } from '@bulkhead/runtime/config';
import { configFileOf } from './config-files.js';

const HELP = `npm run verify [-- flags]    checks every tenant's journal, from its first record to its head, and each effect
                             against its records. The installation's database must be running.

  --data DIR     data folder of the installation (default .data); BULKHEAD_CONFIG may name control's file instead
  --json         answers as JSON
  --help         this text

Exit code 0: all of it holds. 1: something does not, and the line says what and where. 2: it could not be checked.
`;

const holds = ({ chain, problems }: TenantVerdict): boolean => chain.ok && problems.length === 0;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      data: { type: 'string', default: '.data' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const { database } = loadControlConfig(configFileOf(values.data, 'control'));
  const control = openControlDoor({ url: database.url, poolMax: 2, onError: () => undefined }); // a broken call throws itself
  try {
    const tenants = await control.query<{ id: string }>('SELECT id FROM tenants ORDER BY id');
    const verdicts: TenantVerdict[] = [];
    for (const { id } of tenants) {
      const verdict = await verifyTenant(control, id);
      verdicts.push(verdict);
      if (!values.json) console.log(lineOf(verdict));
    }
    if (values.json) console.log(JSON.stringify(verdicts.map(plain)));
    return verdicts.every(holds) ? 0 : 1;
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

/** Hashes as text, big numbers as numbers. */
function plain(verdict: TenantVerdict): object {
  const { tenantId, chain, problems } = verdict;
  const { records } = chain;
  const place = chain.ok
    ? { head: chain.head.toString('hex') }
    : { badSeq: Number(chain.badSeq), why: chain.why };
  return { tenantId, ok: holds(verdict), records: Number(records), ...place, problems };
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(
    `verify: ${error instanceof Error ? error.message : String(error)} (is the installation running?)`,
  );
  process.exitCode = 2;
}
