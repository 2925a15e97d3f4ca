import { fileURLToPath } from 'node:url';
import { defineConfig } from 'prisma/config';

// The native engine is a download that fails offline; the stand-in speaks the same protocol over the npm packages.
if (process.env.PRISMA_NATIVE_ENGINE !== '1') {
  process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= fileURLToPath(
    new URL('./engine/schema-engine.mjs', import.meta.url),
  );
}

export default defineConfig({
  schema: 'schema.prisma',
  migrations: { path: 'migrations' },
  // Without a password: it comes from PGPASSFILE, because this URL is visible in the engine's arguments.
  datasource: { url: process.env.BULKHEAD_MIGRATE_URL ?? 'postgresql://none@127.0.0.1:1/none' },
});
