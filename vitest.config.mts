import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import swc from 'unplugin-swc';
import { defineConfig } from 'vitest/config';

// the build leaves specs out; here they are what runs
const { exclude: _specs, ...compiler } = JSON.parse(readFileSync(new URL('.swcrc', import.meta.url), 'utf8'));

const CONDITIONS = ['@bulkhead/source'];
// vite would take graphql's second copy (index.mjs), whose classes are not those that Nest and Mercurius check for
const alias = [{ find: /^graphql$/, replacement: fileURLToPath(import.meta.resolve('graphql')) }];

/** Both projects run the sources (no build needed for the code under test); child processes run dist. */
const shared = {
  plugins: [swc.vite({ ...compiler, swcrc: false, configFile: false })],
  resolve: { conditions: CONDITIONS, alias },
  ssr: { resolve: { conditions: CONDITIONS, externalConditions: CONDITIONS } },
};

export default defineConfig({
  test: {
    projects: [
      {
        ...shared,
        test: {
          name: 'unit',
          include: [
            '{apps,activities,temporal}/*/src/**/*.spec.ts',
            '{workflows,prisma,tools}/src/**/*.spec.ts',
          ],
          testTimeout: 15_000,
        },
      },
      {
        ...shared,
        test: {
          name: 'integration',
          include: ['test/{integration,isolation,replay,chaos,e2e}/**/*.spec.ts'],
          globalSetup: ['test/support/servers.ts'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // two cores carry the database, the Temporal server and the tests
          maxWorkers: 2,
        },
      },
      {
        ...shared,
        test: {
          // test/proofs/main.mjs runs it: a command of its own, not part of the tests
          name: 'proofs',
          include: ['test/proofs/all.proof.ts'],
          globalSetup: ['test/support/servers.ts'],
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
