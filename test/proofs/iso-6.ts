import { tenantId } from '@bulkhead/contract';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantClient } from '@bulkhead/prisma/tenant';
import { freshDatabase } from '../support/database.js';
import { seededRandom } from '../support/random.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 20, ci: 600, full: 20_000 };
const ACME = tenantId('acme');

/** One query through the generated client; true: it saw the transaction's own uncommitted row. */
type Operation = (tx: TenantClient, id: string) => Promise<boolean>;
const where = (id: string) => ({ tenantId: ACME, id });
const key = (id: string) => ({ tenantId_id: where(id) });

const OPERATIONS: Record<string, Operation> = {
  findUnique: async (tx, id) => (await tx.workspace.findUnique({ where: key(id) }))?.id === id,
  findFirst: async (tx, id) => (await tx.workspace.findFirst({ where: where(id) }))?.id === id,
  findMany: async (tx, id) => (await tx.workspace.findMany({ where: where(id) })).length === 1,
  count: async (tx, id) => (await tx.workspace.count({ where: where(id) })) === 1,
  aggregate: async (tx, id) =>
    (await tx.workspace.aggregate({ where: where(id), _count: true }))._count === 1,
  groupBy: async (tx, id) =>
    (await tx.workspace.groupBy({ by: ['tenantId'], where: where(id), _count: true }))[0]?._count === 1,
  update: async (tx, id) =>
    (await tx.workspace.update({ where: key(id), data: { name: 'changed' } })).name === 'changed',
  updateMany: async (tx, id) =>
    (await tx.workspace.updateMany({ where: where(id), data: { name: 'changed' } })).count === 1,
  upsert: async (tx, id) => {
    const create = { ...where(id), name: 'made' };
    return (await tx.workspace.upsert({ where: key(id), create, update: { name: 'up' } })).name === 'up';
  },
  createMany: async (tx, id) =>
    (await tx.workspace.createMany({ data: [{ ...where(`${id}-b`), name: 'many' }] })).count === 1,
  queryRaw: async (tx, id) =>
    (await tx.$queryRaw<unknown[]>`SELECT FROM workspaces WHERE id = ${id}`).length === 1,
  executeRaw: async (tx, id) =>
    (await tx.$executeRaw`UPDATE workspaces SET name = 'raw' WHERE id = ${id}`) === 1,
};

/** How a transaction ends badly. */
const ENDINGS: Record<string, (tx: TenantClient) => Promise<unknown>> = {
  throw: () => Promise.reject(new Error('thrown')),
  'broken SQL': (tx) => tx.$queryRaw`SELECT 1 / 0`,
  'foreign write': (tx) => tx.workspace.create({ data: { tenantId: 'globex', id: 'x', name: 'x' } }),
  'duplicate key': (tx) => tx.workspace.create({ data: { tenantId: ACME, id: 'main', name: 'x' } }),
  'missing row': (tx) => tx.workspace.update({ where: key('nowhere'), data: { name: 'x' } }),
};

/**
 * Queries through the generated client in a transaction that throws: each one runs in that transaction (same backend,
 * same transaction id, sees its uncommitted row, tenant set), and nothing survives.
 */
export const run: Proof = async ({ size, progress }) => {
  const random = seededRandom();
  progress(`seed ${random.seed}`);
  const database = await freshDatabase();
  const faults: string[] = [];
  const door = openTenantDoor({
    url: database.appUrl,
    poolMax: 8,
    onError: (error) => faults.push(error.message),
  });
  let queries = 0;
  const round = async (index: number): Promise<void> => {
    const ending = random.pick(Object.keys(ENDINGS));
    const chosen = Array.from({ length: 5 }, () => random.pick(Object.keys(OPERATIONS)));
    const work = async (tx: TenantClient): Promise<void> => {
      const id = `row-${index}`;
      await tx.workspace.create({ data: { ...where(id), name: 'new' } });
      const at = await placeOf(tx);
      for (const name of new Set(chosen)) {
        if (!(await OPERATIONS[name]?.(tx, id)))
          faults.push(`${name} did not see the row of its transaction`);
        if ((await placeOf(tx)) !== at) faults.push(`${name} ran elsewhere`);
        queries += 1;
      }
      await ENDINGS[ending]?.(tx);
    };
    const kept = await door
      .tenant(ACME)
      .run(work)
      .then(
        () => true,
        () => false,
      );
    if (kept) faults.push(`a transaction ending with ${ending} was kept`);
  };
  try {
    await door.tenant(ACME).run((tx) => tx.workspace.create({ data: { ...where('main'), name: 'main' } }));
    const print = () => database.asOwner('SELECT tenant_id, id, name, xmin::text FROM workspaces');
    const before = JSON.stringify(await print());
    for (let index = 0; index < ROUNDS[size]; index += 2) await Promise.all([round(index), round(index + 1)]);
    const after = JSON.stringify(await print());
    if (after !== before) faults.push(`rows survived: ${after}`);
    return zeroOf('rows kept or queries outside', queries, faults);
  } finally {
    await door.close();
    await database.drop();
  }
};

async function placeOf(tx: TenantClient): Promise<string> {
  const rows = await tx.$queryRaw<unknown[]>`
    SELECT pg_backend_pid() AS pid, pg_current_xact_id()::text AS tx, current_setting('app.tenant') AS tenant`;
  return JSON.stringify(rows);
}
