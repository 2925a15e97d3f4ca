import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { watchCheckouts } from '../support/checkouts.js';
import { freshDatabase } from '../support/database.js';
import { PROOF_IDS } from '../proofs/ids.mjs';
import type { Proof } from '../proofs/proof.js';
import { run as fc4 } from '../proofs/fc-4.js';
import { run as fc7 } from '../proofs/fc-7.js';
import { run as in1 } from '../proofs/in-1.js';
import { run as in2 } from '../proofs/in-2.js';
import { run as in3 } from '../proofs/in-3.js';
import { run as in4 } from '../proofs/in-4.js';
import { run as in5 } from '../proofs/in-5.js';
import { run as in6 } from '../proofs/in-6.js';
import { run as in7 } from '../proofs/in-7.js';
import { run as sec2 } from '../proofs/sec-2.js';
import { areaUnderCurve, run as iso2 } from '../proofs/iso-2.js';
import { run as iso1 } from '../proofs/iso-1.js';
import { run as iso10 } from '../proofs/iso-10.js';
import { run as iso11 } from '../proofs/iso-11.js';
import { run as iso13 } from '../proofs/iso-13.js';
import { run as iso3 } from '../proofs/iso-3.js';
import { run as iso4 } from '../proofs/iso-4.js';
import { run as iso5 } from '../proofs/iso-5.js';
import { run as iso6 } from '../proofs/iso-6.js';
import { run as iso7 } from '../proofs/iso-7.js';
import { run as ks3 } from '../proofs/ks-3.js';
import { run as ks5 } from '../proofs/ks-5.js';
import { run as sec3 } from '../proofs/sec-3.js';
import { run as sec6 } from '../proofs/sec-6.js';
import { run as sec7 } from '../proofs/sec-7.js';

/** The cheap proofs at a size that every test run can afford; `npm run proofs` runs them at theirs. */
const CHEAP: Record<string, Proof> = {
  'ISO-1': iso1,
  'ISO-2': iso2,
  'ISO-3': iso3,
  'ISO-4': iso4,
  'ISO-5': iso5,
  'ISO-6': iso6,
  'ISO-7': iso7,
  'ISO-10': iso10,
  'ISO-11': iso11,
  'ISO-13': iso13,
  'SEC-3': sec3,
  'SEC-6': sec6,
  'KS-3': ks3,
  'SEC-7': sec7,
  'FC-4': fc4,
  'FC-7': fc7,
  'IN-1': in1,
  'IN-2': in2,
  'IN-3': in3,
  'KS-5': ks5,
  'IN-4': in4,
  'IN-5': in5,
  'IN-6': in6,
  'IN-7': in7,
  'SEC-2': sec2,
};

describe('the proofs', () => {
  it.each(Object.entries(CHEAP))('%s holds at a tiny size', async (id, run) => {
    expect(PROOF_IDS).toContain(id);
    const result = await run({ size: 'tiny', progress: () => undefined });
    expect(result, JSON.stringify(result.faults)).toMatchObject({ pass: true });
    expect(result.n).toBeGreaterThan(0);
  });

  it('see a tenant that was left on a connection', async () => {
    const database = await freshDatabase();
    const pool = new pg.Pool({ connectionString: database.appUrl, max: 1 });
    const watch = watchCheckouts();
    await pool.query("SELECT set_config('app.tenant', 'acme', false)");
    await pool.query('SELECT 1');
    watch.stop();
    await pool.end();
    await database.drop();
    expect(watch.seen()).toBe(2);
    expect(watch.stale()).toHaveLength(1);
  });

  it('measure time so that equal is 0.5 and always slower is 1', () => {
    expect(areaUnderCurve([1, 2, 3], [1.5, 2.5, 0.5])).toBeCloseTo(0.667, 2);
    expect(areaUnderCurve([5, 6], [1, 2])).toBe(1);
    expect(areaUnderCurve([1, 2], [5, 6])).toBe(0);
  });
});
