import { expect } from 'vitest';
import type { Envelope, Json, TenantId } from '@bulkhead/contract';
import { listJournal } from '@bulkhead/journal/admin';
import { createSealer, verifyTenant } from '@bulkhead/journal/control';
import type { TenantVerdict } from '@bulkhead/journal/control';
import { removeContent } from '@bulkhead/journal/line';
import { publishPolicy } from '@bulkhead/policy/admin';
import { ALLOW_ALL, openLine } from './line.js';
import type { Host, LineUnderTest } from './line.js';

export const DAY_S = 86_400;

/** The line, with runs that have ended some time ago and policies that say what is kept of them. */
export interface KeptWorld {
  readonly line: LineUnderTest;
  /** Opened anew by `begin`. */
  host: Host;
  /** Between tests: tenants active, nothing asked of a run, a new host. */
  begin(): Promise<void>;
  publish(
    retention: object,
    over?: { readonly rules?: readonly Json[]; readonly audit?: object },
  ): Promise<{ readonly version: number }>;
  newRun(tenant?: string): Promise<Envelope>;
  /** The run ended that long ago. */
  ended(run: Envelope, seconds: number): Promise<void>;
  /** A run with one call that was answered; of acme, and still running, unless told. */
  runWithCall(seconds?: number, over?: { readonly tenant?: string; readonly id?: string }): Promise<Envelope>;
  /** For each call, by key: `arguments answer`, or `-` for what is gone. */
  contentOf(run: Envelope): Promise<string>;
  removeAll(tenant?: string): Promise<void>;
  /** Bodies of the run's records of what was removed. */
  removals(run: Envelope): Promise<{ readonly [name: string]: Json }[]>;
  /** Seals what is not sealed, and verifies acme. */
  verified(): Promise<TenantVerdict>;
}

export async function openKept(): Promise<KeptWorld> {
  const line = await openLine();
  for (const tenant of ['acme', 'globex'])
    await line.database.asOwner(
      `INSERT INTO agents (tenant_id, id, workspace_id, name, description, workflow_type, input_schema)
       VALUES ($1, 'tester', 'main', 'x', 'x', 'none', '{}')`,
      [tenant],
    );
  const world: KeptWorld = {
    line,
    host: await line.newHost(),
    async begin() {
      await line.database.asOwner("UPDATE tenants SET status = 'active'");
      await line.database.asOwner('DELETE FROM run_requests');
      world.host = await line.newHost();
    },
    publish: (retention, { rules = [ALLOW_ALL], audit = {} } = {}) =>
      publishPolicy(line.db('acme'), {
        profile: 'default',
        document: { rules, settings: { retention, audit } } as Json,
        publishedBy: 'test',
        reason: 'test',
      }),
    async newRun(tenant = 'acme') {
      // before `newRun` of the line takes what is old for sealed, which it is not
      await sealAll(line);
      return line.newRun(tenant);
    },
    async ended(run, seconds) {
      await line.database.asOwner(
        `UPDATE runs SET state = 'completed', started_at = coalesce(started_at, created_at), result = '"sealed"',
           finished_at = now() - make_interval(secs => $2) WHERE id = $1`,
        [run.runId, seconds],
      );
    },
    async runWithCall(seconds, { tenant = 'acme', id = 'k1' } = {}) {
      const run = await world.newRun(tenant);
      const answer = await world.host.call(run, 'desk.update', { id, text: 'to be forgotten' });
      expect(answer).toMatchObject({ kind: 'ok' });
      if (seconds !== undefined) await world.ended(run, seconds);
      return run;
    },
    async contentOf(run) {
      const rows = await line.database.asOwner<{ request: boolean; result: boolean }>(
        'SELECT request IS NOT NULL AS request, result IS NOT NULL AS result FROM effects WHERE run_id = $1 ORDER BY key',
        [run.runId],
      );
      return rows
        .map(({ request, result }) => `${request ? 'arguments' : '-'} ${result ? 'answer' : '-'}`)
        .join(', ');
    },
    async removeAll(tenant = 'acme') {
      while ((await removeContent(line.db(tenant))).more);
    },
    async removals(run) {
      const records = await listJournal(line.db(run.tenantId), run.runId);
      return records
        .filter(({ kind }) => kind === 'removal')
        .map(({ body }) => body as { readonly [name: string]: Json });
    },
    async verified() {
      await sealAll(line);
      return verifyTenant(line.control, 'acme' as TenantId);
    },
  };
  return world;
}

/** Seals every record, as the control process would have. */
export async function sealAll(line: Pick<LineUnderTest, 'control'>): Promise<void> {
  const onError = (error: unknown): void => {
    throw error;
  };
  const sealer = createSealer({ control: line.control, onError });
  while ((await sealer.sealOnce()) > 0);
}
