import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { b1 } from './b1.ts';
import { lineOf, passes } from './stats.ts';
import type { Figure } from './stats.ts';
import { openBenchWorld } from './world.ts';

const HELP = `npm run bench [-- flags] [B1]    what governance costs, against a bare activity in the same run

  B1             one chain of calls: p50, p99 and the first call of a run

  --rounds N     alternating rounds (default 7)
  --calls N      calls of one chain (default 150)
  --json FILE    also write the figures to FILE
  --strict       exit 1 when a goal is missed
  --help         this text

It starts its own durable PostgreSQL and Temporal server on free ports, and takes about three minutes.
`;
const IDS = ['B1'];

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
  const unknown = positionals.filter((id) => !IDS.includes(id.toUpperCase()));
  if (unknown.length > 0) {
    console.error(`there is no figure ${unknown.join(', ')}; there are: ${IDS.join(' ')}`);
    return 2;
  }
  const began = Date.now();
  const progress = (line: string): void =>
    console.error(`${((Date.now() - began) / 1000).toFixed(1).padStart(6)} s  ${line}`);
  const root = fileURLToPath(new URL('../../.data', import.meta.url));
  await mkdir(root, { recursive: true });
  const world = await openBenchWorld(await mkdtemp(join(root, 'bench-')), progress);
  let figures: Figure[];
  try {
    progress('servers, control, host and the bare worker are ready');
    figures = await b1(world, {
      rounds: Number(values.rounds),
      calls: Number(values.calls),
      firsts: 9,
      progress,
    });
  } finally {
    await world.close();
  }
  for (const figure of figures) console.log(lineOf(figure));
  if (values.json !== undefined) {
    const seconds = (Date.now() - began) / 1000;
    const rows = figures.map((figure) => ({ ...figure, pass: passes(figure), unit: 'ratio', seconds }));
    await writeFile(values.json, `${JSON.stringify(rows, null, 2)}\n`);
  }
  return values.strict && !figures.every(passes) ? 1 : 0;
}

process.exit(await main());
