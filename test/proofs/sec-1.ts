import { randomBytes } from 'node:crypto';
import { appendFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { createCanaries } from '../support/canaries.js';
import type { Canaries } from '../support/canaries.js';
import { ownerLogin, processesOf } from '../support/installation.js';
import type { TestInstallation } from '../support/installation.js';
import {
  databaseRows,
  filesBelow,
  histories,
  idleProcess,
  openedHistories,
} from '../support/installation-surfaces.js';
import { seededRandom } from '../support/random.js';
import { createScanner, formsOf, withBytes } from '../support/secret-scan.js';
import type { Hit, Scanner } from '../support/secret-scan.js';
import { ENDINGS, openSecretWorld } from '../support/secret-world.js';
import type { SecretWorld } from '../support/secret-world.js';
import type { Proof, ProofSize } from './proof.js';

/** Runs, of which each uses two secrets that nobody has used before. */
const RUNS: Record<ProofSize, number> = { tiny: 6, ci: 6, full: 100 };
const PLANTED = 50;

/**
 * A whole installation, as a user starts it. Each run has two secrets of its own, which its tools and its model tell
 * again wherever they can; runs succeed, fail, time out, are tried again, are reset and terminated; and secrets are refused in
 * each way in which the API refuses them. Then everything that the installation keeps, writes, shows and says is searched
 * for every secret in every form, by its halves too: histories as bytes, decoded and opened, visibility, all columns of all
 * databases, the files of PostgreSQL with its write-ahead log, logs, what the model was asked, what the API answered,
 * environments and arguments. Fifty leaks planted on those surfaces must be found by the same search.
 */
export const run: Proof = async ({ size, progress }) => {
  const world = await openSecretWorld();
  try {
    for (let i = 0; i < RUNS[size]; i += 1) {
      await world.run(ENDINGS[i % ENDINGS.length]!);
      progress(`run ${i + 1} of ${RUNS[size]}`);
    }
    await world.askEverything();
    const planted = await plant(world.installation);
    const names = { ...world.canaries.byName(), ...planted.canaries.byName() };
    const scanner = createScanner(names);
    const hits = await searchEverything(world, scanner, progress);
    await planted.end();
    const leaks = hits.filter(({ secret }) => !secret.startsWith('planted '));
    const found = new Set(hits.map(({ secret }) => secret).filter((secret) => secret.startsWith('planted ')));
    const missed = planted.canaries.made.filter(
      ({ field, surface }) => !found.has(`planted ${field} ${surface}`),
    );
    const used = world.canaries.made.filter(({ value }) => world.arrived.has(value)).length;
    const n = world.canaries.made.length;
    progress(`${n} secrets, ${used} of them used, ${Math.round(scanner.bytes() / 1e6)} MB searched`);
    const faults = [
      ...leaks.map(({ secret, form, where }) => `${secret} as ${form} in ${where}`),
      ...missed.map(({ field, surface }) => `the leak planted in ${field} ${surface} was not found`),
      ...(used < RUNS[size] * 2 ? [`only ${used} secrets reached a tool`] : []),
    ];
    return {
      pass: faults.length === 0,
      figure: leaks.length,
      goal: `0, and ${PLANTED} of ${PLANTED} planted leaks found`,
      unit: `hits, ${PLANTED - missed.length} planted found`,
      n,
      faults: faults.slice(0, 10),
    };
  } finally {
    await world.close();
  }
};

async function searchEverything(
  { installation, asked, answers }: SecretWorld,
  scanner: Scanner,
  progress: (line: string) => void,
): Promise<Hit[]> {
  const hits: Hit[] = [];
  const search = (where: string, content: Buffer | string): void =>
    void hits.push(...scanner.scan(where, content));
  for (const tenant of ['acme', 'globex']) {
    for (const { id, bytes, text } of await histories(installation, tenant)) {
      search(`the history of ${id}`, bytes);
      search(`the history of ${id}, decoded`, text);
    }
    search(`the histories of ${tenant}, opened`, await openedHistories(installation, tenant));
  }
  for await (const { table, row } of databaseRows(installation)) search(table, withBytes(row));
  progress('histories and rows searched');
  for (const text of asked) search('what the model was asked', text);
  for (const text of answers) search('an answer of the API', text);
  search('what npm start printed', installation.output());
  for (const { pid, command, environment } of await processesOf(installation.dataDir)) {
    search(`the arguments of ${pid}`, command);
    search(`the environment of ${pid}`, environment);
  }
  // rows that were updated or deleted live on in these files, and every change in the write-ahead log
  await flush(installation);
  for (const file of await filesBelow(installation)) hits.push(...(await scanner.file(file)));
  return hits;
}

/** What PostgreSQL still has in memory goes to its files. */
async function flush(installation: TestInstallation): Promise<void> {
  const client = new pg.Client({ ...(await ownerLogin(installation)), database: 'postgres' });
  await client.connect();
  await client.query('CHECKPOINT');
  await client.end();
}

interface Planted {
  readonly canaries: Canaries;
  end(): Promise<void>;
}

/** Fifty leaks, each in a form of its own, over the surfaces that can be written to. */
async function plant(installation: TestInstallation): Promise<Planted> {
  const canaries = createCanaries();
  const random = seededRandom();
  const children: (() => void)[] = [];
  const client = new pg.Client({ ...(await ownerLogin(installation)), database: 'bulkhead' });
  await client.connect();
  await client.query('CREATE TABLE planted (body jsonb, text text, bytes bytea)');
  await mkdir(join(installation.dataDir, 'host', 'mcp', 'acme'), { recursive: true });
  for (let i = 0; i < PLANTED; i += 1) {
    const place = PLACES[i % PLACES.length]!;
    const value = canaries.make('planted', place, `${i}`);
    const [, text] = random.pick(formsOf(value));
    const leak = `${randomBytes(i % 9).toString('hex')} ${text} `;
    switch (place) {
      case 'a log':
        await appendFile(join(installation.dataDir, 'logs', 'planted.log'), `{"msg":"${leak}"}\n`);
        break;
      case 'memory':
        await writeFile(join(installation.dataDir, 'host', 'mcp', 'acme', `planted-${i}`), leak);
        break;
      case 'a row':
        await client.query('INSERT INTO planted VALUES ($1, NULL, NULL)', [JSON.stringify({ leak })]);
        break;
      case 'bytes of a row':
        await client.query('INSERT INTO planted VALUES (NULL, NULL, $1)', [Buffer.from(leak)]);
        break;
      case 'a row that is gone':
        await client.query('INSERT INTO planted VALUES (NULL, $1, NULL)', [leak]);
        await client.query('DELETE FROM planted WHERE text = $1', [leak]);
        break;
      case 'an environment':
        children.push(await idleProcess(installation, { LEAK: leak }));
        break;
      case 'an argument':
        children.push(await idleProcess(installation, {}, leak));
        break;
    }
  }
  return {
    canaries,
    async end() {
      for (const stop of children) stop();
      await client.query('DROP TABLE planted');
      await client.end();
    },
  };
}

const PLACES = [
  'a log',
  'memory',
  'a row',
  'bytes of a row',
  'a row that is gone',
  'an environment',
  'an argument',
] as const;
