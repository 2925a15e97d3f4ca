import { appendFileSync, existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import type { Proof, ProofResult, ProofSize } from './proof.js';

/** What main.mjs asks for; the answers go to the file that it reads. */
const { ids, size, events } = JSON.parse(process.env['BULKHEAD_PROOFS'] ?? '{}') as {
  ids: string[];
  size: ProofSize;
  events: string;
};
const tell = (event: object): void => appendFileSync(events, `${JSON.stringify(event)}\n`);

async function attempt(id: string): Promise<ProofResult> {
  const { run } = (await import(fileOf(id))) as { run: Proof };
  return run({ size, progress: (line) => tell({ id, progress: line }) });
}

/** Proofs stand here, the figures (B1, B2...) in test/bench. */
const fileOf = (id: string): string =>
  fileURLToPath(new URL(`${/^B[\d-]/.test(id) ? '../bench' : '.'}/${id.toLowerCase()}.ts`, import.meta.url));
const built = (id: string): boolean => existsSync(fileOf(id));

for (const id of ids) {
  it(`proof ${id}`, { timeout: 900_000 }, async () => {
    if (!built(id)) return tell({ id, missing: true });
    const started = performance.now();
    try {
      const result = await attempt(id);
      tell({ id, result, seconds: (performance.now() - started) / 1000 });
      expect(result.pass).toBe(true);
    } catch (error) {
      tell({ id, error: error instanceof Error ? error.stack : String(error) });
      throw error;
    }
  });
}
