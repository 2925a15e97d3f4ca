import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BulkheadError, InvalidId, tenantId } from '@bulkhead/contract';
import { openControlDoor } from '@bulkhead/prisma/control';
import { loadControlConfig } from '@bulkhead/runtime/config';
import { orderTokenKeys, tokenKeysInUse } from '@bulkhead/tenancy/control';
import type { KeyOwner } from '@bulkhead/tenancy/control';
import { configFileOf } from './config-files.js';

const HELP = `npm run rotate-keys [-- flags]    gives every tenant and the platform the next key for signing Temporal tokens

The control process publishes each new key, waits until the server accepts it, and signs with it from then on; hosts get
their new tokens at once. The old key is dropped when its last token has ended. Nothing stops meanwhile.

  --tenant ID    only this tenant's key
  --platform     only the platform's own key
  --data DIR     data folder of the installation (default .data); BULKHEAD_CONFIG may name control's file instead
  --json         answers as JSON
  --help         this text

Exit code 0: every new key is in use. 1: some are not; they are taken into use as soon as control and server run.
`;
/** The server reads its keys once a second; a thousand tenants take a few seconds more. */
const IN_USE_WITHIN_MS = 60_000;
const PLATFORM = '_system';

interface Flags {
  readonly tenant?: string | undefined;
  readonly platform: boolean;
}

function ownerOf({ tenant, platform }: Flags): KeyOwner | undefined {
  if (tenant !== undefined && platform) throw new Error('give --tenant or --platform, not both');
  if (platform) return PLATFORM;
  return tenant === undefined ? undefined : tenantId(tenant);
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      tenant: { type: 'string' },
      platform: { type: 'boolean', default: false },
      data: { type: 'string', default: '.data' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const owner = ownerOf(values);
  const say = (line: string): void => (values.json ? undefined : console.log(line));
  const { database } = loadControlConfig(configFileOf(values.data, 'control'));
  const control = openControlDoor({ url: database.url, poolMax: 2, onError: () => undefined }); // a broken call throws itself
  try {
    const ordered = await orderTokenKeys(control, owner);
    if (ordered.length === 0)
      throw new Error(
        'no key was ordered: there is no such tenant in service, or its next key is still on its way',
      );
    const waiting = new Map(ordered.map((key) => [key.owner, key.generation]));
    say(`${waiting.size} new keys are ordered`);
    for (
      const until = Date.now() + IN_USE_WITHIN_MS;
      waiting.size > 0 && Date.now() < until;
      await sleep(200)
    ) {
      const inUse = await tokenKeysInUse(control);
      for (const [who, generation] of waiting) {
        if ((inUse.get(who) ?? 0) < generation) continue;
        waiting.delete(who);
        const name = who === PLATFORM ? 'the platform' : who;
        say(`${ordered.length - waiting.size}/${ordered.length}  ${name} signs with key ${generation}`);
      }
    }
    if (values.json) console.log(JSON.stringify({ ordered, waiting: [...waiting.keys()] }));
    if (waiting.size === 0) return 0;
    say(`${waiting.size} keys are not in use yet: do the control process and the Temporal server run?`);
    return 1;
  } finally {
    await control.close();
  }
}

process.exitCode = await main().catch((error: unknown) => {
  const plain =
    error instanceof InvalidId || error instanceof BulkheadError || (error as Error).constructor === Error;
  console.error(plain ? (error as Error).message : error);
  return 1;
});
