import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A launcher that is killed cannot stop its children, which run in process groups of their own. So each start is written
 * down beside the child's log, and the next start ends what is left. Pids are used again: a process counts as the recorded
 * one only when it also began at the same moment.
 */
interface Recorded {
  readonly name: string;
  readonly pid: number;
  readonly began: string;
  readonly signal: NodeJS.Signals;
  readonly launcher: { readonly pid: number; readonly began: string };
}

const END_WITHIN_MS = 10_000;
const SUFFIX = '.pid';

/** The launcher that owns this folder still runs, or its child does not end; one line for a person. */
export class AlreadyRunning extends Error {
  override readonly name = 'AlreadyRunning';
}

/** Writes down that this process started `pid`. Returns the file, to be removed when the child ended. */
export function recordChild(folder: string, name: string, pid: number, signal: NodeJS.Signals): string {
  const file = join(folder, `${name}-${pid}${SUFFIX}`);
  const launcher = { pid: process.pid, began: beginningOf(process.pid) ?? '' };
  const record: Recorded = { name, pid, began: beginningOf(pid) ?? '', signal, launcher };
  writeFileSync(`${file}.new`, JSON.stringify(record), { mode: 0o600 });
  renameSync(`${file}.new`, file);
  return file;
}

/** Removes the record of a child that ended. */
export const forgetChild = (file: string): void => rmSync(file, { force: true });

/**
 * Ends the children that a killed launcher left behind, newest first, and returns when they are gone.
 * @throws AlreadyRunning when that launcher still runs: two must not share a data folder.
 */
export async function endLeftovers(folder: string, log: (line: string) => void): Promise<void> {
  const records = await recordsIn(folder);
  for (const { launcher } of records.map(({ record }) => record)) {
    if (launcher.pid !== process.pid && beginningOf(launcher.pid) === launcher.began)
      throw new AlreadyRunning(
        `${dirname(folder)} is in use: the process ${launcher.pid} runs on it; stop that one first`,
      );
  }
  for (const { file, record } of records) {
    if (record.launcher.pid === process.pid && beginningOf(process.pid) === record.launcher.began) continue;
    if (isAlive(record)) await end(record, log);
    await rm(file, { force: true });
  }
}

async function recordsIn(folder: string): Promise<{ file: string; record: Recorded }[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const files = names.filter((name) => name.endsWith(SUFFIX)).map((name) => join(folder, name));
  const found = await Promise.all(
    files.map(async (file) => ({ file, record: JSON.parse(await readFile(file, 'utf8')) as Recorded })),
  );
  // what began last depends on what began first
  return found.toSorted((a, b) => order(b.record) - order(a.record));
}

const order = ({ began }: Recorded): number => Number(/(\d+)$/.exec(began)?.[1] ?? 0);

const isAlive = ({ pid, began }: Recorded): boolean => began !== '' && beginningOf(pid) === began;

async function end(record: Recorded, log: (line: string) => void): Promise<void> {
  log(`ending ${record.name} (pid ${record.pid}), which an earlier start left behind`);
  signal(record.pid, record.signal);
  for (let waitedMs = 0; isAlive(record); waitedMs += 25) {
    if (waitedMs === END_WITHIN_MS) signal(-record.pid, 'SIGKILL');
    if (waitedMs > 2 * END_WITHIN_MS)
      throw new AlreadyRunning(
        `${record.name} of an earlier start (pid ${record.pid}) does not end; stop it and try again`,
      );
    await sleep(25);
  }
}

/** Sends a signal to a process, or with a negative number to its group; one that is gone is fine. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** When the process began, in a form that only it has until the machine restarts; undefined when there is none. */
function beginningOf(pid: number): string | undefined {
  if (process.platform !== 'linux') return beginningByPs(pid);
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // the name in parentheses may hold anything; state and start (in ticks since boot) are fields 3 and 22
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'Z') return undefined;
    return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${fields[19]}`;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

function beginningByPs(pid: number): string | undefined {
  try {
    const started = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' },
    });
    return `ps ${Date.parse(`${started.toString().trim()} UTC`)}`;
  } catch {
    return undefined; // ps exits with 1: no such process
  }
}
