import { inject } from 'vitest';
import { agentId, BulkheadError, workspaceId } from '@bulkhead/contract';
import type { Envelope } from '@bulkhead/contract';
import { createAcceptRun } from '@bulkhead/runs/admin';
import { createEnvelopeSigner } from '@bulkhead/runtime/envelope';
import { sealArgumentsWith } from '@bulkhead/runtime/codec';
import { newUlid } from '@bulkhead/runtime/ulid';
import { putAgent } from '@bulkhead/tenancy/admin';
import { DEMO_AGENT } from '../../tools/src/demo/tenants.js';
import { openGatewayWorld } from '../support/gateway-world.js';
import type { GatewayWorld } from '../support/gateway-world.js';
import { zeroOf } from './proof.js';
import type { Proof, ProofSize } from './proof.js';

const ROUNDS: Record<ProofSize, number> = { tiny: 1, ci: 4, full: 100 };
const CALLERS = 100;
const GATEWAYS = 4;
const TENANTS = ['acme', 'globex'] as const;

/**
 * 100 callers at once with one key. A start: one run, other input under the key is refused, another tenant's use of it
 * is its own. A call at four gateway processes: one request at a receiver that knows no keys, and all hear its answer.
 */
export const run: Proof = async ({ size, progress }) => {
  const world = await openGatewayWorld({ gateways: GATEWAYS, honoursKeys: false });
  const faults: string[] = [];
  try {
    for (const tenant of TENANTS) {
      const agent = {
        ...DEMO_AGENT,
        id: agentId('tester'),
        workflowType: 'none',
        workspaceId: workspaceId('main'),
      };
      await putAgent(world.line.db(tenant), { ...agent, inputSchema: { type: 'object' } });
    }
    const runs = await Promise.all(TENANTS.map((tenant) => world.line.newRun(tenant)));
    for (let round = 0; round < ROUNDS[size]; round += 1) {
      faults.push(...(await starts(world, `key-${round}`)));
      faults.push(...(await calls(world, runs, round)));
      progress(`round ${round + 1}`);
    }
    faults.push(...(await world.check()).map(({ kind, what }) => `${kind}: ${what}`));
  } finally {
    await world.close();
  }
  // two tenants' starts and two tools' calls
  return zeroOf(
    'callers with one key that made or heard something of their own',
    ROUNDS[size] * CALLERS * 6,
    faults,
  );
};

/** Both tenants start with the same key at once, each from 100 callers, and then once with another input. */
async function starts({ line }: GatewayWorld, key: string): Promise<string[]> {
  const signer = createEnvelopeSigner(inject('servers').keys.envelopeSigning);
  const acceptRun = createAcceptRun({
    signEnvelope: (envelope) => signer.sign(envelope),
    sealArguments: sealArgumentsWith(line.keyRing),
    newUlid: () => newUlid(Date.now()),
    now: () => new Date(),
  });
  const start = async (tenant: string, ticket: string): Promise<string> => {
    const request = { agentId: agentId('tester'), idempotencyKey: key, actor: 'key:proof' };
    return (await acceptRun(line.db(tenant), { ...request, input: { ticket } })).runId;
  };
  const faults: string[] = [];
  const ids = await Promise.all(
    TENANTS.map((tenant) => Promise.all(Array.from({ length: CALLERS }, () => start(tenant, 'T-1')))),
  );
  for (const [n, tenant] of TENANTS.entries()) {
    const own = new Set(ids[n]);
    const [rows] = await line.database.asOwner<{ count: number }>(
      'SELECT count(*)::int FROM runs WHERE tenant_id = $1 AND idempotency_key = $2',
      [tenant, key],
    );
    if (own.size !== 1 || rows?.count !== 1) faults.push(`${tenant}: ${own.size} ids, ${rows?.count} runs`);
    const other = await start(tenant, 'T-2').catch((error: unknown) => error);
    if (!(other instanceof BulkheadError) || other.code !== 'IDEMPOTENCY_CONFLICT') {
      faults.push(`${tenant}: other input under the key was not refused`);
    }
  }
  return faults;
}

/** One call of each tool from 100 callers at once, for both tenants with the same arguments. */
async function calls(world: GatewayWorld, runs: readonly Envelope[], round: number): Promise<string[]> {
  const faults: string[] = [];
  for (const tool of ['desk.update', 'desk.send']) {
    const ref = `${tool}-${round}`;
    const before = world.receiver.log.length;
    const answers = await Promise.all(
      runs.map((envelope) =>
        Promise.all(
          Array.from({ length: CALLERS }, (_, n) => {
            const turn = [
              ...world.gateways.all.slice(n % GATEWAYS),
              ...world.gateways.all.slice(0, n % GATEWAYS),
            ];
            return world.callUntilAnswered(turn, { envelope, tool, args: { id: ref } });
          }),
        ),
      ),
    );
    const requests = world.receiver.log.length - before;
    if (requests !== runs.length) faults.push(`${ref}: ${requests} requests for ${runs.length} tenants`);
    for (const heard of answers) {
      const kinds = new Set(heard.map(({ answer }) => JSON.stringify(answer)));
      if (kinds.size !== 1 || heard[0]?.answer?.kind !== 'ok')
        faults.push(`${ref}: heard ${[...kinds].join(', ')}`);
    }
  }
  return faults;
}
