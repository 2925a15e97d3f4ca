import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { BENCH_IDS } from '../proofs/ids.mjs';
import { b1 } from './b1.ts';
import { b2 } from './b2.ts';
import { otherFigures } from './other-figures.ts';
import type { OtherFigure } from './other-figures.ts';
import { MachineTooBusy } from './rounds.ts';
import { lineOf, passes } from './stats.ts';
import type { Figure } from './stats.ts';
import { openBenchWorld } from './world.ts';

const HELP = `npm run bench [-- flags] [B1|B2|...]    ratios of two things that ran alternately in one run

  B1             one governed chain of calls against bare activities: p50, p99 and the first call of a run
  B2             calls per second with 20 and 60 chains at once, against bare activities
  B5             what a governed call waits for the database, against two committed single-row updates
  B8             a tenant-scoped read against the same read by the bare driver
  B9             CPU of a GraphQL list against a bare node:http server
  B10            CPU of one use of a brokered credential, against one AES-256-GCM decrypt
  B-POLICY       CPU of one policy verdict: 1,000 rules, 20 of them conditional on the called tool
  (without an id: all of them; one that is not built yet prints "missing")

  --rounds N     alternating rounds of B1 and B2 (default 7)
  --calls N      calls of one chain (default 150)
  --json FILE    also write the figures to FILE
  --strict       exit 1 when a goal is missed
  --help         this text

It starts its own durable PostgreSQL and Temporal server on free ports, and takes about three minutes for B1, six for B2, one for the
others. Let nothing else run: both arms share the cores with whatever does.
`;
/** They need the whole line; the others run in the servers of the proofs. */
const OF_THE_LINE = ['B1', 'B2'];
/** A load per core at the start from which the figures deserve a warning. */
const BUSY = 0.5;

/** Run by Node itself, which strips the types: the code under measure is the built one. */
async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      rounds: { type: 'string', default: '7' },
      calls: { type: 'string', default: '150' },
      json: { type: 'string' },
      strict: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const ids = positionals.length > 0 ? positionals.map((id) => id.toUpperCase()) : BENCH_IDS;
  const unknown = ids.filter((id) => !BENCH_IDS.includes(id));
  if (unknown.length > 0) {
    console.error(`there is no figure ${unknown.join(', ')}; there are: ${BENCH_IDS.join(' ')}`);
    return 2;
  }
  const [rounds, calls] = [Number(values.rounds), Number(values.calls)];
  if (!isCount(rounds, 1) || !isCount(calls, 20)) {
    console.error('--rounds wants a whole number from 1, --calls one from 20');
    return 2;
  }
  const began = Date.now();
  const progress = (line: string): void =>
    console.error(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${line}`);
  const load = loadavg()[0] ?? 0;
  if (load > BUSY * availableParallelism()) {
    progress(
      `load ${load.toFixed(1)} on ${availableParallelism()} cores: something else runs, mistrust the figures`,
    );
  }
  const stop = stopSignal();
  const figures = await figuresOfTheLine(ids, { rounds, calls, progress, stop });
  for (const figure of figures) console.log(lineOf(figure));
  const seconds = (Date.now() - began) / 1000;
  const rows: OtherFigure[] = figures.map((figure) => ({
    ...figure,
    pass: passes(figure),
    unit: 'ratio',
    load,
    seconds,
  }));
  rows.push(
    ...(await otherFigures(
      ids.filter((id) => !OF_THE_LINE.includes(id)),
      stop,
    )),
  );
  if (values.json !== undefined) await writeFile(values.json, `${JSON.stringify(rows, null, 2)}\n`);
  return values.strict && !rows.every(({ pass }) => pass) ? 1 : 0;
}

async function figuresOfTheLine(
  ids: readonly string[],
  options: {
    readonly rounds: number;
    readonly calls: number;
    readonly progress: (line: string) => void;
    readonly stop: AbortSignal;
  },
): Promise<Figure[]> {
  const { rounds, calls, progress, stop } = options;
  const figures: Figure[] = [];
  if (!ids.some((id) => OF_THE_LINE.includes(id))) return figures;
  const root = fileURLToPath(new URL('../../.data', import.meta.url));
  await mkdir(root, { recursive: true });
  const world = await openBenchWorld(await mkdtemp(join(root, 'bench-')), progress, stop);
  try {
    progress('servers, control, host and the bare worker are ready');
    const measure = async (): Promise<void> => {
      if (ids.includes('B1')) figures.push(...(await b1(world, { rounds, calls, firsts: 9, progress })));
      if (ids.includes('B2')) figures.push(...(await b2(world, { rounds, progress })));
    };
    await Promise.race([measure(), aborted(stop)]);
  } finally {
    await world.close();
  }
  return figures;
}

const isCount = (value: number, least: number): boolean => Number.isSafeInteger(value) && value >= least;

/** The servers are process groups of their own, which Ctrl-C does not reach: without this they would stay. */
class Interrupted extends Error {
  override readonly name = 'Interrupted';
}

function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.once(name, () => stop.abort(new Interrupted(`${name}: stopping what was started`)));
  }
  return stop.signal;
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    if (signal.aborted) reject(signal.reason as Error);
  });

try {
  process.exit(await main());
} catch (error) {
  if (!(error instanceof Interrupted || error instanceof MachineTooBusy)) throw error;
  console.error(error.message);
  process.exit(1);
}
