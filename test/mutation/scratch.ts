import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** A copy of the checkout in which guards can be taken away; the checkout itself is never touched. */
export interface Scratch {
  readonly root: string;
  write(file: string, text: string): Promise<void>;
  build(): Promise<boolean>;
  /** Runs specs; `tests` is undefined when the runner broke off before it ran any. */
  test(project: string, files: readonly string[], pattern: string): Promise<TestRun>;
  remove(): Promise<void>;
}

export interface TestRun {
  /** Names of the tests that passed and failed. */
  readonly tests: { readonly passed: readonly string[]; readonly failed: readonly string[] } | undefined;
  readonly output: string;
}

/** A test that hangs fails by its own timeout long before this. */
const RUN_MS_MAX = 300_000;

/** Copies what git knows of and what was built; the installed packages are hard links. */
export async function openScratch(checkout: string): Promise<Scratch> {
  await mkdir(join(checkout, '.data'), { recursive: true });
  const root = await mkdtemp(join(checkout, '.data', 'mutations-'));
  // the user of the embedded PostgreSQL must reach it
  await run(checkout, 'chmod', ['755', root]);
  const shell = [
    `git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t ${root}`,
    `cp -al node_modules ${root}/`,
    `for built in ${BUILT}; do cp -r --parents "$built" ${root}/ || exit 1; done`,
  ];
  for (const command of shell) {
    const { code, output } = await run(checkout, 'bash', ['-c', command]);
    if (code !== 0) throw new Error(`the copy of the checkout failed: ${output}`);
  }
  return {
    root,
    write: (file, text) => writeFile(join(root, file), text),
    async build() {
      const { code } = await run(root, 'node_modules/.bin/nx', ['run-many', '-t', 'build']);
      return code === 0;
    },
    test: (project, files, pattern) => runTests(root, project, files, pattern),
    remove: () => rm(root, { recursive: true, force: true }),
  };
}

/** What git does not know of and the tests need. */
const BUILT = '{apps,activities,temporal}/*/dist {prisma,tools,workflows}/dist prisma/src/generated';

async function runTests(
  root: string,
  project: string,
  files: readonly string[],
  pattern: string,
): Promise<TestRun> {
  const report = join(root, '.data', 'mutation.json');
  await mkdir(dirname(report), { recursive: true });
  await rm(report, { force: true });
  const { output } = await run(root, 'node_modules/.bin/vitest', [
    'run',
    '--project',
    project,
    '--reporter=json',
    `--outputFile.json=${report}`,
    '-t',
    pattern,
    ...files,
  ]);
  if (!existsSync(report)) return { tests: undefined, output };
  const { testResults } = JSON.parse(await readFile(report, 'utf8')) as {
    testResults: { assertionResults: { fullName: string; status: string }[] }[];
  };
  const all = testResults.flatMap(({ assertionResults }) => assertionResults);
  const of = (status: string): string[] =>
    all.filter((test) => test.status === status).map(({ fullName }) => fullName);
  return { tests: { passed: of('passed'), failed: of('failed') }, output };
}

async function run(
  cwd: string,
  command: string,
  args: readonly string[],
): Promise<{ code: number | null; output: string }> {
  const child = spawn(command.startsWith('node_modules') ? join(cwd, command) : command, args, {
    cwd,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      NX_DAEMON: 'false',
      PATH: `${join(cwd, 'node_modules/.bin')}:${process.env['PATH']}`,
    },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (output = `${output}${chunk.toString()}`.slice(-20_000)));
  const timer = setTimeout(() => child.kill('SIGINT'), RUN_MS_MAX);
  const [code] = (await once(child, 'close')) as [number | null];
  clearTimeout(timer);
  return { code, output };
}
