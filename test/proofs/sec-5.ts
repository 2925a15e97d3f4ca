import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { demoApiKeys, processesOf } from '../support/installation.js';
import type { TestInstallation } from '../support/installation.js';
import { filesBelow, idleProcess } from '../support/installation-surfaces.js';
import { createScanner } from '../support/secret-scan.js';
import type { Scanner } from '../support/secret-scan.js';
import { openSecretWorld } from '../support/secret-world.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const RUNS: Record<ProofSize, number> = { tiny: 2, ci: 4, full: 60 };
const EVERY_MS = 300;

/**
 * What every account of the machine can read of the processes of an installation at work: environments, arguments, and
 * the files below its folder that are open and readable by others. Searched again and again while runs use their
 * secrets, for those secrets, the tenants' other credentials, and every key and password of the platform, in every form.
 */
export const run: Proof = async ({ size, progress }) => {
  const world = await openSecretWorld();
  try {
    const { installation } = world;
    const platform = await platformSecrets(installation);
    const faults = new Set<string>();
    let looked = 0;
    const work = new AbortController();
    const watching = (async () => {
      while (!work.signal.aborted) {
        const scanner = createScanner({ ...platform, ...world.canaries.byName() });
        looked += await look(installation, scanner, faults);
        await sleep(EVERY_MS);
      }
    })();
    for (let i = 0; i < RUNS[size]; i += 1) {
      await world.run(i % 2 === 0 ? 'succeeds' : 'times-out');
      progress(`run ${i + 1} of ${RUNS[size]}, ${looked} looks at a process`);
    }
    work.abort();
    await watching;
    if (Object.keys(platform).length < 8) faults.add('the keys of the platform were not found');
    for (const fault of await keysReadableByOthers(installation)) faults.add(fault);
    if (!(await seesPlanted(installation, platform))) faults.add('a planted master key was not seen');
    return zeroOf('secrets that another account could read', looked, [...faults]);
  } finally {
    await world.close();
  }
};

/** Keys and passwords of the platform, and what the demo's tenants have. A PEM counts by its lines. */
async function platformSecrets(installation: TestInstallation): Promise<Record<string, string>> {
  const secrets: Record<string, string> = {};
  const files = [
    ...(await filesBelow(installation, 'keys')),
    join(installation.dataDir, 'postgres', 'superuser.password'),
  ].filter((file) => /\.(key|pem|password)$/.test(file));
  for (const file of files) {
    const lines = (await readFile(file, 'utf8')).split('\n').map((line) => line.trim());
    for (const [index, line] of lines.entries())
      if (line.length >= 16 && !line.startsWith('-----')) secrets[`${file} line ${index + 1}`] = line;
  }
  for (const [tenant, roles] of Object.entries(await demoApiKeys(installation)))
    for (const [role, key] of Object.entries(roles)) secrets[`API key ${tenant} ${role}`] = key;
  const master = Buffer.from(
    secrets[`${join(installation.dataDir, 'keys', 'master.key')} line 1`] ?? '',
    'base64',
  );
  secrets['master key in hex'] = master.toString('hex');
  return secrets;
}

/** @returns how many processes were looked at */
async function look(installation: TestInstallation, scanner: Scanner, faults: Set<string>): Promise<number> {
  const processes = await processesOf(installation.dataDir);
  for (const { pid, command, environment } of processes) {
    for (const { secret } of scanner.scan('', command))
      faults.add(`${secret} in the arguments of ${command}`);
    for (const { secret } of scanner.scan('', environment))
      faults.add(`${secret} in the environment of ${command}`);
    for (const file of await openToOthers(pid, installation.dataDir))
      for (const { secret } of await scanner.file(file))
        faults.add(`${secret} in ${file}, which others may read`);
  }
  return processes.length;
}

/** Whether the same look finds the master key where somebody put it. */
async function seesPlanted(
  installation: TestInstallation,
  platform: Readonly<Record<string, string>>,
): Promise<boolean> {
  const [name = '', key = ''] = Object.entries(platform).find(([file]) => file.includes('master.key')) ?? [];
  const seen = async (env: Record<string, string>, argument: string): Promise<boolean> => {
    const stop = await idleProcess(installation, env, argument);
    const faults = new Set<string>();
    await look(installation, createScanner({ [name]: key }), faults);
    stop();
    return faults.size > 0;
  };
  return (await seen({ MASTER: key }, '')) && (await seen({}, `--key=${key}`));
}

/** Files of the installation that a process has open and every account may read. */
async function openToOthers(pid: number, folder: string): Promise<string[]> {
  const found = new Set<string>();
  try {
    for (const fd of await readdir(`/proc/${pid}/fd`)) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`);
      if (target.startsWith(folder) && ((await stat(target)).mode & 0o004) !== 0) found.add(target);
    }
  } catch (error) {
    // a process or a file that ended meanwhile
    if (!['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
  return [...found];
}

/** Keys, tokens, configurations with passwords: for their owner alone, whoever has them open. */
async function keysReadableByOthers(installation: TestInstallation): Promise<string[]> {
  const files = await Promise.all(
    ['keys', 'tokens', 'config', 'demo'].map((folder) => filesBelow(installation, folder)),
  );
  const modes = await Promise.all(
    files.flat().map(async (file) => ({ file, mode: (await stat(file)).mode & 0o777 })),
  );
  return modes
    .filter(({ file, mode }) => (mode & 0o077) !== 0 && !/public|jwks/.test(file))
    .map(({ file, mode }) => `${file} has mode ${mode.toString(8)}`);
}
