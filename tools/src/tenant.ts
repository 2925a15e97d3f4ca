import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { BulkheadError, InvalidId, tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { loadApiConfig } from '@bulkhead/runtime/config';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { newUlid } from '@bulkhead/runtime/ulid';
import {
  createApiKey,
  createTenant,
  getTenant,
  listTenantKeys,
  ROLES,
  rotateTenantKey,
} from '@bulkhead/tenancy/admin';
import type { Role } from '@bulkhead/tenancy/admin';
import { follow, LIFECYCLE_COMMANDS, orderOf, typist } from './tenant-lifecycle.js';
import { quota } from './tenant-quota.js';
import { configFileOf } from './config-files.js';

const HELP = `npm run tenant -- create ID --name NAME    makes a tenant and its first API key (role admin)
npm run tenant -- key ID --role ROLE        makes another key; roles: ${ROLES.join(', ')}
npm run tenant -- show ID
npm run tenant -- quota ID                  what it may use in a day, and what it has used
npm run tenant -- quota ID --layer LAYER --limit N --reason TEXT    grants more or less; "default": what every tenant has
npm run tenant -- suspend ID --reason TEXT  stops it: no new work, no effects, no Workers, its tokens revoked
npm run tenant -- resume ID --reason TEXT   goes on exactly where it was
npm run tenant -- offboard ID --reason TEXT [--grace-days N]    stops it and erases it after N days (0 to 90, default 30)
npm run tenant -- reinstate ID --reason TEXT    takes an offboarding back while its days last
npm run tenant -- rotate-key ID --reason TEXT    makes a new encryption key; what older ones sealed stays readable

A new tenant may do nothing until a policy allows it; it is served within seconds while \`control\` and \`host\` run.
A key is shown this once: only its hash is stored.

  --data DIR     data folder of the installation (default .data); BULKHEAD_CONFIG may name the API's file instead
  --json         answers as JSON
  --help         this text
`;
const ACTIVE_WITHIN_MS = 30_000;

/** Something a person typed; the message is one line. */
class Misuse extends Error {
  override readonly name = 'Misuse';
}

type Answer = Record<string, string>;

async function create(
  db: TenantDb,
  keys: Parameters<typeof createTenant>[1],
  name: string | undefined,
): Promise<Answer> {
  if (name === undefined) throw new Misuse('give the tenant a name: --name "Acme Corporation"');
  const order = { actor: typist(), reason: 'Made by command.', ulid: newUlid(Date.now()) };
  const { created } = await createTenant(db, keys, { name, order });
  if (!created)
    throw new Misuse(
      `${db.tenantId} exists already; make another key with: npm run tenant -- key ${db.tenantId} --role admin`,
    );
  const { key } = await createApiKey(db, { name: 'first admin', role: 'admin' });
  return { tenant: db.tenantId, status: await activeStatus(db), apiKey: key };
}

/** The control process registers the namespace; nobody tells us when, so this asks. */
async function activeStatus(db: TenantDb): Promise<string> {
  for (const until = Date.now() + ACTIVE_WITHIN_MS; Date.now() < until; await sleep(200)) {
    const { status } = await getTenant(db);
    if (status !== 'provisioning') return status;
  }
  return 'provisioning (is the control process running?)';
}

async function key(db: TenantDb, role: string | undefined): Promise<Answer> {
  if (!ROLES.includes(role as Role)) throw new Misuse(`--role must be one of ${ROLES.join(', ')}`);
  await getTenant(db); // or the key would belong to nobody
  const made = await createApiKey(db, { name: `${role} by command`, role: role as Role });
  return { tenant: db.tenantId, role: String(role), apiKey: made.key };
}

async function show(db: TenantDb): Promise<Answer> {
  const { id, name, namespace, status, controlState } = await getTenant(db);
  return { tenant: id, name, namespace, status, controlState };
}

async function rotateKey(
  db: TenantDb,
  keys: Parameters<typeof rotateTenantKey>[1],
  reason: string | undefined,
): Promise<Answer> {
  if (!reason) throw new Misuse('say why, for the journal: --reason "yearly rotation"');
  const { keyId, retired } = await rotateTenantKey(db, keys, { actor: 'operator:command', reason });
  const known = await listTenantKeys(db);
  return { tenant: db.tenantId, active: keyId, retired, keys: String(known.length) };
}

async function lifecycle(
  db: TenantDb,
  kind: (typeof LIFECYCLE_COMMANDS)[number],
  given: { readonly reason?: string | undefined; readonly 'grace-days'?: string | undefined },
  say: (line: string) => void,
): Promise<Answer> {
  return typed(() => follow(db, orderOf(kind, given['grace-days']), reasonOf(given.reason), say));
}

function reasonOf(given: string | undefined): string {
  const reason = given?.trim() ?? '';
  if (reason === '' || reason.length > 1000)
    throw new Misuse('say why, in 1 to 1000 characters: --reason "unpaid bills"');
  return reason;
}

/** What somebody typed wrong, and what the API would tell the person who asked, as one line. */
async function typed(work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RangeError) throw new Misuse(error.message, { cause: error });
    if (error instanceof BulkheadError) throw new Misuse(error.publicMessage, { cause: error });
    throw error;
  }
}

function parseId(id: string | undefined): TenantId {
  try {
    return tenantId(id);
  } catch (error) {
    if (!(error instanceof InvalidId)) throw error;
    throw new Misuse('ID must be 3 to 32 lower-case letters, digits and hyphens, beginning with a letter', {
      cause: error,
    });
  }
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      role: { type: 'string' },
      layer: { type: 'string' },
      limit: { type: 'string' },
      reason: { type: 'string' },
      'grace-days': { type: 'string' },
      data: { type: 'string', default: '.data' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [command, id] = positionals;
  if (values.help || command === undefined) return console.log(HELP);
  const config = loadApiConfig(configFileOf(values.data, 'api'));
  const door = openTenantDoor({ url: config.database.url, poolMax: 4, onError: () => undefined }); // a broken call throws itself
  try {
    const db = door.tenant(parseId(id));
    // made only where a key is needed: the other commands do without the master key
    const keyRing = () =>
      createKeyRing({ masterKeyPath: config.keys.master, loadTenantKey: tenantKeys(door) });
    const commands: Record<string, () => Promise<Answer>> = {
      create: () => create(db, keyRing(), values.name),
      key: () => key(db, values.role),
      show: () => show(db),
      quota: () => typed(() => quota(db, values, () => reasonOf(values.reason))),
      'rotate-key': () => rotateKey(db, keyRing(), values.reason),
      ...Object.fromEntries(
        LIFECYCLE_COMMANDS.map((kind) => [
          kind,
          () => lifecycle(db, kind, values, (line) => (values.json ? undefined : console.log(line))),
        ]),
      ),
    };
    const run = commands[command];
    if (!run) throw new Misuse(`unknown command ${command}; see --help`);
    const answer = await run();
    if (values.json) console.log(JSON.stringify(answer));
    else for (const [field, value] of Object.entries(answer)) console.log(`${field.padEnd(13)} ${value}`);
  } finally {
    await door.close();
  }
}

main().catch((error: unknown) => {
  const plain =
    error instanceof Misuse ||
    error instanceof InvalidId ||
    error instanceof BulkheadError ||
    (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  console.error(plain ? (error as Error).message : error);
  process.exit(1);
});
