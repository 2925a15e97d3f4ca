import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Payload } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import pg from 'pg';
import { tenantId } from '@bulkhead/contract';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import { openConnection, openTenantClient } from '@bulkhead/runtime/client';
import { createCarrierCodec, createTenantCodec } from '@bulkhead/runtime/codec';
import { loadApiConfig } from '@bulkhead/runtime/config';
import { createKeyRing } from '@bulkhead/runtime/keys';
import { encodingOf, payloadsIn } from './history-payloads.js';
import { ownerLogin } from './installation.js';
import type { TestInstallation } from './installation.js';

/** Everything that an installation keeps, as whoever gets hold of it would see it. */

export async function filesBelow(installation: TestInstallation, ...path: string[]): Promise<string[]> {
  const entries = await readdir(join(installation.dataDir, ...path), {
    recursive: true,
    withFileTypes: true,
  });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

export interface ExportedHistory {
  readonly id: string;
  readonly bytes: Buffer;
  readonly text: string;
  readonly payloads: Payload[];
}

/** Each history of a tenant, as the bytes that an export would hold and as JSON, with what visibility says of it. */
export async function histories(installation: TestInstallation, tenant: string): Promise<ExportedHistory[]> {
  const token = (
    await readFile(join(installation.dataDir, 'tokens', 'api', `${tenant}.read.jwt`), 'utf8')
  ).trim();
  const connection = openConnection({ address: installation.temporalAddress, token: () => token });
  try {
    const client = openTenantClient(connection, tenantId(tenant), {
      codec: createCarrierCodec(tenantId(tenant)),
    });
    const found: ExportedHistory[] = [];
    for await (const { workflowId, runId, raw } of client.workflow.list()) {
      const history = await client.workflow.getHandle(workflowId, runId).fetchHistory();
      const bytes = Buffer.from(temporal.api.history.v1.History.encode(history).finish());
      const sealed = payloadsIn(history).filter(({ payload }) => encodingOf(payload) === 'binary/encrypted');
      const text = `${JSON.stringify(history)}\n${JSON.stringify(raw)}`;
      found.push({ id: workflowId, bytes, text, payloads: sealed.map(({ payload }) => payload) });
    }
    return found;
  } finally {
    await connection.close();
  }
}

/** The same histories as the tenant's people see them: every payload opened with the tenant's key. */
export async function openedHistories(installation: TestInstallation, tenant: string): Promise<string> {
  const config = loadApiConfig(join(installation.dataDir, 'config', 'api.json'));
  const door = openTenantDoor({ url: config.database.url, poolMax: 2, onError: () => undefined });
  try {
    const keyRing = createKeyRing({ masterKeyPath: config.keys.master, loadTenantKey: tenantKeys(door) });
    const codec = createTenantCodec(tenantId(tenant), keyRing);
    const opened = (await histories(installation, tenant)).map(({ payloads }) => codec.decode(payloads));
    const payloads = (await Promise.all(opened)).flat();
    return payloads.map(({ data }) => Buffer.from(data ?? []).toString('utf8')).join('\n');
  } finally {
    await door.close();
  }
}

const DATABASES = ['bulkhead', 'temporal', 'temporal_visibility'] as const;

/** Every row of every table of every database as text, past row level security. */
export async function* databaseRows(
  installation: TestInstallation,
): AsyncGenerator<{ readonly table: string; readonly row: string }> {
  const login = await ownerLogin(installation);
  for (const database of DATABASES) {
    const client = new pg.Client({ ...login, database });
    await client.connect();
    try {
      const tables = await client.query<{ name: string }>(
        "SELECT quote_ident(relname) AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
      );
      for (const { name } of tables.rows) {
        const found = await client.query<{ row: string }>(`SELECT t::text AS row FROM ${name} t`);
        for (const { row } of found.rows) yield { table: `${database}.${name}`, row };
      }
    } finally {
      await client.end();
    }
  }
}

/** A process that looks like one of the installation, because the folder stands in its environment. @returns its end */
export async function idleProcess(
  installation: TestInstallation,
  env: Record<string, string>,
  argument = '',
): Promise<() => void> {
  const child = spawn(process.execPath, ['-e', 'setTimeout(() => {}, 600_000)', '--', argument], {
    stdio: 'ignore',
    env: { BULKHEAD_CONFIG: installation.dataDir, ...env },
  });
  await once(child, 'spawn');
  return () => void child.kill('SIGKILL');
}
