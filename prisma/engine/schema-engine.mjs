#!/usr/bin/env node
// Stand-in for Prisma's native schema-engine: the same JSON-RPC over stdio, run by @prisma/schema-engine-wasm over pg.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import {
  bindMigrationAwareSqlAdapterFactory,
  ColumnTypeEnum,
  DriverAdapterError,
} from '@prisma/driver-adapter-utils';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
process.noDeprecation = true; // Prisma parses stderr as JSON; pg warns there about PGPASSFILE
const { values: o, positionals } = parseArgs({
  strict: false,
  allowPositionals: true,
  options: { datamodels: { type: 'string', multiple: true }, datasource: { type: 'string' } },
});
const ds = o.datasource ? JSON.parse(o.datasource) : {};
const parse = (raw) => {
  const u = new URL(raw),
    q = u.searchParams,
    ssl = q.get('sslmode');
  return [
    {
      host: q.get('host') ?? u.hostname,
      port: Number(u.port || 5432),
      user: decodeURIComponent(u.username) || undefined,
      password: decodeURIComponent(u.password) || undefined,
      database: decodeURIComponent(u.pathname.slice(1)),
      ssl: ssl && ssl !== 'disable' ? { rejectUnauthorized: ssl === 'verify-full' } : undefined,
    },
    q.get('schema') ?? undefined,
  ];
};
const [conn, schema] = ds.url ? parse(ds.url) : [undefined, undefined];
const query = async (database, sql) => {
  const c = new pg.Client({ ...conn, database });
  await c.connect();
  try {
    await c.query(sql);
  } finally {
    await c.end();
  }
};
const admin = (verb, name, tail = '') =>
  query('postgres', `${verb} ${pg.escapeIdentifier(name)}${tail}`).catch((e) => {
    if (!['42P04', '23505'].includes(e.code)) throw e;
  }); // made by another process meanwhile
if (positionals[0] === 'cli') {
  // can-connect-to-database | create-database
  process.stderr.write('\n'); // Prisma drops the first line of stderr
  try {
    await (positionals[1] === 'create-database'
      ? admin('create database', conn.database)
      : query(conn.database, 'select 1'));
    process.exit(0);
  } catch (e) {
    const error_code = { '3D000': 'P1003', '28P01': 'P1000', 28000: 'P1000' }[e.code] ?? 'P1001';
    process.stderr.write(
      JSON.stringify({
        level: 'ERROR',
        target: 'schema_engine::logger',
        fields: { message: e.message || e.code, error_code },
      }) + '\n',
    );
    process.exit(1);
  }
}
let panic;
globalThis.PRISMA_WASM_PANIC_REGISTRY = {
  set_message: (m) => {
    panic = m;
  },
};
process.on('uncaughtException', (e) => {
  process.stderr.write(
    JSON.stringify({ level: 'ERROR', fields: { message: panic ?? e.message, backtrace: e.stack } }) + '\n',
  );
  process.exit(101);
});
const glue = await import('@prisma/schema-engine-wasm/schema_engine_bg');
const file = createRequire(import.meta.url)
  .resolve('@prisma/schema-engine-wasm/schema_engine_bg')
  .replace(/\.js$/, '.wasm');
const wasm = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(file)), {
  './schema_engine_bg.js': glue,
});
glue.__wbg_set_wasm(wasm.exports);
wasm.exports.__wbindgen_start();
const pools = [],
  shadows = [],
  chars = new Map();
const open = (config, schema) => {
  // 1. adapter-pg cannot map the catalog type "char" (oid 18), which introspection reads: show it as text, relabel it below
  const p = new pg.Pool({ ...config, max: 2 });
  pools.push(p);
  p.on('error', () => {});
  p.query = async (q, v) => {
    const c = await p.connect();
    try {
      const r = await c.query(q, v);
      for (const x of [r].flat())
        x.fields?.forEach((f, i) => {
          if (f.dataTypeID === 18) {
            f.dataTypeID = 25;
            const k = q.text ?? q;
            chars.set(k, (chars.get(k) ?? new Set()).add(i));
          }
        });
      return r;
    } finally {
      c.release();
    }
  };
  return new PrismaPg(p, { disposeExternalPool: true, ...(schema ? { schema } : {}) }).connect();
};
const lazy = (make) => {
  let p;
  const db = () => (p ??= make());
  return {
    provider: 'postgres',
    adapterName: '@prisma/adapter-pg',
    queryRaw: async (q) => {
      const r = await (await db()).queryRaw(q);
      for (const i of chars.get(q.sql) ?? []) r.columnTypes[i] = ColumnTypeEnum.Character;
      return r;
    },
    executeRaw: async (q) => (await db()).executeRaw(q),
    startTransaction: async (i) => (await db()).startTransaction(i),
    executeScript: async (sql) => {
      // 2. adapter-pg splits scripts on ';' and breaks $$ bodies: send them whole
      try {
        await (await db()).underlyingDriver().query(sql);
      } catch (e) {
        throw new DriverAdapterError({
          kind: 'postgres',
          code: e.code ?? 'N/A',
          severity: e.severity ?? 'ERROR',
          message: e.message,
          detail: e.detail,
          column: e.column,
          hint: e.hint,
        });
      }
    },
    getConnectionInfo: () => ({ schemaName: schema, supportsRelationJoins: true }),
    dispose: async () => {
      if (p) await (await p).dispose();
    },
  };
};
const factory = () =>
  bindMigrationAwareSqlAdapterFactory({
    provider: 'postgres',
    adapterName: '@prisma/adapter-pg',
    connect: async () => lazy(() => open(conn, schema)),
    connectToShadowDb: async () => {
      // 3. adapter-pg's own version reconnects to the real database when it was given a connection string
      if (ds.shadowDatabaseUrl) return lazy(() => open(...parse(ds.shadowDatabaseUrl)));
      const database = `prisma_migrate_shadow_db_${crypto.randomUUID()}`;
      shadows.push(database);
      await admin('create database', database);
      return lazy(() => open({ ...conn, database }));
    },
  });
const datamodels = o.datamodels?.map((d) => {
  const s = Buffer.from(d, 'base64').toString();
  try {
    return JSON.parse(s);
  } catch {
    return ['schema.prisma', s];
  }
});
for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const { id, method, params } = JSON.parse(line);
  let out;
  try {
    if (method === 'createDatabase') {
      await admin('create database', conn.database);
      out = { result: { databaseName: conn.database } };
    } else {
      const engine = await glue.SchemaEngine.new({ datamodels }, () => {}, factory()); // 4. one engine per call: it hands its shadow factory out once
      try {
        if (params?.migrationsList && ['evaluateDataLoss', 'createMigration'].includes(method))
          // 5. these two forget the factory but read its cache
          await engine.devDiagnostic({ migrationsList: params.migrationsList, filters: params.filters });
        out = {
          result: (await engine[method === 'getDatabaseVersion' ? 'version' : method](params)) ?? null,
        };
        if (out.result?.stdout)
          process.stdout.write(
            JSON.stringify({
              jsonrpc: '2.0',
              id: 1,
              method: 'print',
              params: { content: out.result.stdout },
            }) + '\n',
          ); // the CLI prints a diff only when asked to
      } finally {
        // ending the session also drops its advisory lock
        engine.free();
        for (const p of pools.splice(0)) if (!p.ending) await p.end();
        for (const d of shadows.splice(0))
          await admin('drop database if exists', d, ' with (force)').catch(() => {});
      }
    }
  } catch (e) {
    out = {
      error: {
        code: 4466,
        message: 'An error happened. Check the data field for details.',
        data: {
          is_panic: false,
          message: panic ?? e?.message ?? String(e),
          meta: e?.meta ?? null,
          error_code: e?.code ?? null,
        },
      },
    };
  }
  process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, ...out }) + '\n');
}
