import { setTimeout as sleep } from 'node:timers/promises';
import { tenantId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDb, TenantDoor } from '@bulkhead/prisma/tenant';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';
import { seededRandom } from '../support/random.js';
import type { Random } from '../support/random.js';
import { watchCheckouts } from '../support/checkouts.js';
import { secondsOf, zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const TENANTS = 200;
const POOL = 4;
const CALLERS = 16;
const QUERIES: Record<ProofSize, number> = { tiny: 400, ci: 100_000, full: 100_000 };

/**
 * 200 tenants over 4 connections: reads interleaved with transactions that roll back, time out, are cancelled, lose
 * their backend or throw. No answer may be another tenant's, and no connection may be handed out with a tenant set.
 */
export const run: Proof = async ({ size, progress }) => {
  const random = seededRandom();
  progress(`seed ${random.seed}`);
  const database = await freshDatabase();
  const faults: string[] = [];
  const checkouts = watchCheckouts();
  const door = openTenantDoor({ url: database.appUrl, poolMax: POOL, onError: () => undefined });
  const tenants = Array.from({ length: TENANTS }, (_, index) => tenantId(`tenant-${index}`));
  const until = performance.now() + secondsOf(size) * 1_000;
  let done = 0;
  try {
    await seed(database, tenants);
    const caller = async (): Promise<void> => {
      while (done < QUERIES[size] && performance.now() < until && faults.length < 10) {
        const id = tenants[random.below(TENANTS)] as TenantId;
        const fault = await step(door, database, id, random);
        if (fault !== undefined) faults.push(fault);
        done += 1;
        if (done % 5_000 === 0) progress(`${done} queries, ${checkouts.seen()} checkouts looked at`);
      }
    };
    await Promise.all(Array.from({ length: CALLERS }, caller));
    const stale = checkouts.stale();
    const survivors = await database.asOwner("SELECT id FROM workspaces WHERE name = 'must not stay'");
    if (survivors.length > 0) faults.push(`${survivors.length} rows survived a rollback`);
    progress(`${checkouts.seen()} checkouts looked at, ${stale.length} with a tenant left over`);
    return zeroOf('wrong answers or stale checkouts', done, [...faults, ...stale]);
  } finally {
    checkouts.stop();
    await door.close();
    await database.drop();
  }
};

async function seed(database: TestDatabase, tenants: readonly TenantId[]): Promise<void> {
  await database.asOwner(
    `INSERT INTO workspaces (tenant_id, id, name) SELECT t, 'w' || n, t FROM unnest($1::text[]) t, generate_series(1, 3) n`,
    [tenants],
  );
}

interface Row {
  readonly tenantId: string;
  readonly name: string;
}
const READ = { name: 'iso_5', text: 'SELECT tenant_id AS "tenantId", name FROM workspaces' };

class Thrown extends Error {}

/** One query of one tenant; returns what was wrong with it. */
async function step(
  door: TenantDoor,
  database: TestDatabase,
  id: TenantId,
  random: Random,
): Promise<string | undefined> {
  const db = door.tenant(id);
  const dice = random.below(1_000);
  if (dice < 350) return wrongRows(id, await db.read<Row>(READ, []).catch(away));
  if (dice < 700) return wrongRows(id, await db.run((tx) => tx.workspace.findMany()).catch(away));
  if (dice < 850) return foreignCall(db);
  if (dice < 985) return mustFail(db, dice % 2 === 0 ? throwing(id) : brokenSql);
  if (dice < 990) return mustFail(db, slow(id));
  if (dice < 995) return mustFail(db, ended(database, 'pg_cancel_backend'));
  return mustFail(db, ended(database, 'pg_terminate_backend'));
}

/** A killed backend may take a neighbour's query with it, as a typed fault and never as an answer. */
function away(error: unknown): undefined {
  const { code } = error as { code?: string };
  if (code !== 'DATABASE_UNAVAILABLE') throw error;
}

function wrongRows(id: TenantId, rows: readonly Row[] | undefined): string | undefined {
  if (rows === undefined) return undefined;
  const right = rows.length === 3 && rows.every((row) => row.tenantId === id && row.name === id);
  return right ? undefined : `${id} was answered ${JSON.stringify(rows)}`;
}

/** A function of the line; its answer must be about this tenant, which has no such approval. */
async function foreignCall(db: TenantDb): Promise<string | undefined> {
  const answer = await db.call('decide_approval', { approvalId: 'none' }).catch(away);
  const text = JSON.stringify(answer ?? { kind: 'not_found' });
  return text === '{"kind":"not_found"}' ? undefined : `${db.tenantId} was answered ${text}`;
}

type Work = Parameters<TenantDb['run']>[0];

async function mustFail(db: TenantDb, work: Work): Promise<string | undefined> {
  const ended = await db.run(work).then(
    () => 'kept',
    () => undefined,
  );
  return ended && `${db.tenantId}: a transaction that had to fail was kept`;
}

const throwing =
  (id: TenantId): Work =>
  async (tx) => {
    await tx.workspace.create({ data: { tenantId: id, id: `x-${Math.random()}`, name: 'must not stay' } });
    throw new Thrown();
  };
const brokenSql: Work = (tx) => tx.$queryRaw`SELECT 1 / 0`;
const slow =
  (id: TenantId): Work =>
  async (tx) => {
    await tx.workspace.create({ data: { tenantId: id, id: `x-${Math.random()}`, name: 'must not stay' } });
    await tx.$executeRaw`SET LOCAL statement_timeout = 5`;
    await tx.$queryRaw`SELECT 1 FROM pg_sleep(1)`;
  };
/** Somebody else cancels the query or kills the backend in the middle of the transaction. */
const ended =
  (database: TestDatabase, how: 'pg_cancel_backend' | 'pg_terminate_backend'): Work =>
  async (tx) => {
    const [row] = await tx.$queryRaw<{ pid: number }[]>`SELECT pg_backend_pid() AS pid`;
    const stuck = tx.$queryRaw`SELECT 1 FROM pg_sleep(2)`;
    await Promise.all([stuck, sleep(5).then(() => database.asOwner(`SELECT ${how}($1)`, [row?.pid]))]);
  };
