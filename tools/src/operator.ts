import { userInfo } from 'node:os';
import { parseArgs } from 'node:util';
import { BulkheadError } from '@bulkhead/contract';
import { openControlDoor } from '@bulkhead/prisma/control';
import type { ControlDb } from '@bulkhead/prisma/control';
import { loadApiConfig } from '@bulkhead/runtime/config';
import {
  createOperator,
  createOperatorKey,
  listOperatorRecords,
  listOperators,
  revokeOperator,
} from '@bulkhead/tenancy/control';
import { configFileOf } from './config-files.js';

const HELP = `npm run operator -- key --name NAME [--days N]    makes an operator of the platform and prints the key, this once
npm run operator -- person --issuer URL --subject SUBJECT --name NAME
npm run operator -- list
npm run operator -- revoke ID
npm run operator -- journal    who made and ended operators; intact false: a record was changed or removed

Operators of the platform are members of no tenant: they see the list of tenants and what the lifecycle of a tenant
needs, and no tenant's work. A new installation has none.

  --days N       the key expires after N days (1 to 3650); without it, never
  --data DIR     data folder of the installation (default .data); BULKHEAD_CONFIG may name the API's file instead
  --json         answers as JSON
  --help         this text
`;
const DAY_MS = 86_400_000;

/** Something a person typed; the message is one line. */
class Misuse extends Error {
  override readonly name = 'Misuse';
}

interface Given {
  readonly name?: string | undefined;
  readonly days?: string | undefined;
  readonly issuer?: string | undefined;
  readonly subject?: string | undefined;
}

function need(value: string | undefined, flag: string): string {
  if (value === undefined || value === '') throw new Misuse(`give ${flag}; see --help`);
  return value;
}

function expiry(days: string | undefined): Date | undefined {
  if (days === undefined) return undefined;
  const count = Number(days);
  if (!Number.isInteger(count) || count < 1 || count > 3650) throw new Misuse('--days must be 1 to 3650');
  return new Date(Date.now() + count * DAY_MS);
}

/** Who typed the command, for the row that remembers it. */
const typist = (): string => `command:${userInfo().username}`;

async function answer(
  db: ControlDb,
  command: string,
  id: string | undefined,
  given: Given,
): Promise<Record<string, unknown>[]> {
  switch (command) {
    case 'key': {
      const name = need(given.name, '--name');
      const made = await createOperatorKey(db, { name, createdBy: typist(), expiresAt: expiry(given.days) });
      return [{ operator: made.id, name, operatorKey: made.key }];
    }
    case 'person': {
      const issuer = need(given.issuer, '--issuer');
      const subject = need(given.subject, '--subject');
      const name = need(given.name, '--name');
      return [
        { operator: (await createOperator(db, { issuer, subject, name, createdBy: typist() })).id, name },
      ];
    }
    case 'list':
      return (await listOperators(db)).map((operator) => ({ ...operator }));
    case 'journal':
      return (await listOperatorRecords(db)).map((record) => ({ ...record }));
    case 'revoke':
      await revokeOperator(db, need(id, 'the id of the operator'), typist());
      return [{ operator: id, revoked: true }];
    default:
      throw new Misuse(`unknown command ${command}; see --help`);
  }
}

function print(rows: readonly Record<string, unknown>[]): void {
  for (const row of rows) {
    const shown = Object.entries(row).filter(([, value]) => value !== null);
    console.log(shown.map(([field, value]) => `${field} ${text(value)}`).join('  '));
  }
}

const text = (value: unknown): string => (value instanceof Date ? value.toISOString() : String(value));

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      name: { type: 'string' },
      days: { type: 'string' },
      issuer: { type: 'string' },
      subject: { type: 'string' },
      data: { type: 'string', default: '.data' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [command, id] = positionals;
  if (values.help || command === undefined) return console.log(HELP);
  const config = loadApiConfig(configFileOf(values.data, 'api'));
  const db = openControlDoor({ url: config.database.controlUrl, poolMax: 1, onError: () => undefined }); // a broken call throws itself
  try {
    const rows = await answer(db, command, id, values);
    if (values.json) console.log(JSON.stringify(rows));
    else print(rows);
  } finally {
    await db.close();
  }
}

main().catch((error: unknown) => {
  const plain =
    error instanceof Misuse ||
    error instanceof BulkheadError ||
    (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS');
  console.error(plain ? (error as Error).message : error);
  process.exit(1);
});
