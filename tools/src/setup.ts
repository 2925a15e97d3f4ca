import { randomBytes } from 'node:crypto';
import { chmod, mkdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureLogins, migrate } from '@bulkhead/prisma/migrate';
import { lifecycleBundlePath, workflowBundlePath } from '@bulkhead/workflows/bundle';
import { writeConfigFiles } from './config-files.js';
import { FOLDERS, SERVICES } from './defaults.js';
import { ensureKeys, once, writePrivate } from './keys.js';
import type { KeyFiles } from './keys.js';
import { hostMcpServers } from './processes.js';

const HELP = `node tools/dist/setup.js keys|install    the one-shot steps of docker-compose.yml; both may run again

  keys       makes the keys and passwords that are missing, and hands Temporal and PostgreSQL theirs
  install    brings the database to the newest schema, and hands each process its configuration and its keys

  --installation DIR   all keys of the installation; no process mounts it (default ${FOLDERS.installation})
  --handout DIR        one folder per service, each a volume of its own (default ${FOLDERS.handout})
  --own DIR            where a service finds its folder (default ${FOLDERS.own})
  --database HOST:PORT (default ${SERVICES.postgres.host}:${SERVICES.postgres.port})
`;

interface Places {
  readonly installation: string;
  readonly handout: string;
  readonly own: string;
  readonly database: string;
}

const superuserPassword = (places: Places): string =>
  join(places.installation, 'keys', 'database-superuser.password');

/** A volume of its own: the control process writes it, the Temporal server reads it. */
const publishedKeys = (places: Places): string => join(places.installation, 'temporal-keys', 'keys.json');

async function keys(places: Places): Promise<void> {
  const made = await ensureKeys(join(places.installation, 'keys'));
  const passwordFile = superuserPassword(places);
  await once(passwordFile, () => randomBytes(24).toString('base64url'));
  const password = await readFile(passwordFile, 'utf8');
  await mkdir(join(places.installation, 'exports'), { recursive: true, mode: 0o700 });
  for (const reader of ['api', 'hosts'])
    await mkdir(join(places.installation, 'tokens', reader), { recursive: true });

  const hand = (service: string, name: string, content: string): Promise<void> =>
    writePrivate(join(places.handout, service, name), content);
  await hand('temporal', 'pgpass', `*:*:*:*:${password}\n`); // base64url: nothing to escape
  // once: from then on the control process keeps it
  await once(publishedKeys(places), () => readFile(made.temporalJwks, 'utf8'));
  await hand('postgres', 'superuser.password', password);
  // PostgreSQL's image has a user of its own, which joins our group
  await chmod(join(places.handout, 'postgres'), 0o750);
  await chmod(join(places.handout, 'postgres', 'superuser.password'), 0o640);
}

async function install(places: Places): Promise<void> {
  const made = await ensureKeys(join(places.installation, 'keys'));
  const password = await readFile(superuserPassword(places), 'utf8');
  const ownerUrl = `postgresql://postgres:${password}@${places.database}/bulkhead`;
  const { total } = await migrate(ownerUrl);
  const [appPassword, controlPassword] = await Promise.all([
    readFile(made.appPassword, 'utf8'),
    readFile(made.controlPassword, 'utf8'),
  ]);
  await ensureLogins(ownerUrl, { appPassword, controlPassword });
  console.log(`the database has the newest schema (${total} migrations)`);

  const configs = await writeConfigFiles({
    dataDir: places.installation,
    keys: { ...asOwn(made, places.own), temporalJwks: publishedKeys(places) },
    ownerUrl,
    temporal: {
      address: `${SERVICES.temporal.host}:${SERVICES.temporal.port}`,
      uiAddress: `http://${SERVICES.temporalUi.host}:${SERVICES.temporalUi.port}`,
      enforcesTokens: true,
    },
    api: {
      host: '0.0.0.0',
      port: SERVICES.api.port,
      publicUrl: `http://127.0.0.1:${SERVICES.api.port}`,
      graphiql: true,
      introspection: true,
    },
    host: { bundlePath: workflowBundlePath(), mcpServers: hostMcpServers() },
    control: { bundlePath: lifecycleBundlePath() },
    logLevel: 'info',
  });
  const { master, envelopeSigning, envelopePublic, temporalSigning } = made;
  await handOut(places, 'api', configs.api, [master, envelopeSigning]);
  await handOut(places, 'host', configs.host, [master, envelopePublic]);
  await handOut(places, 'control', configs.control, [temporalSigning, envelopeSigning]);
}

/** The paths as a process sees them; only the passwords are read here. */
function asOwn(made: KeyFiles, own: string): KeyFiles {
  const at = (file: string): string => join(own, basename(file));
  return {
    ...made,
    master: at(made.master),
    envelopeSigning: at(made.envelopeSigning),
    envelopePublic: at(made.envelopePublic),
    temporalSigning: at(made.temporalSigning),
  };
}

async function handOut(
  places: Places,
  service: string,
  config: string,
  keyFiles: readonly string[],
): Promise<void> {
  const folder = join(places.handout, service);
  await writePrivate(join(folder, 'config.json'), await readFile(config, 'utf8'));
  for (const file of keyFiles) await writePrivate(join(folder, basename(file)), await readFile(file, 'utf8'));
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    installation: { type: 'string', default: FOLDERS.installation },
    handout: { type: 'string', default: FOLDERS.handout },
    own: { type: 'string', default: FOLDERS.own },
    database: { type: 'string', default: `${SERVICES.postgres.host}:${SERVICES.postgres.port}` },
  },
});
const step = new Map([
  ['keys', keys],
  ['install', install],
]).get(positionals.join(' '));
if (step === undefined) {
  console.error(HELP);
  process.exitCode = 2;
} else {
  try {
    await step(values);
  } catch (error) {
    console.error(`${positionals[0]}: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
