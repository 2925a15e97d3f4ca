import { randomUUID } from 'node:crypto';
import {
  agentId,
  BulkheadError,
  buildGrantId,
  buildRevocationId,
  tenantId,
  toolId,
} from '@bulkhead/contract';
import type { CallAnswer, Envelope, GrantId, TenantId } from '@bulkhead/contract';
import { newUlid } from '@bulkhead/runtime/ulid';
import { createSecretBroker } from '@bulkhead/secret-broker/line';
import { createSecret, revokeSecrets, rotateSecret } from '@bulkhead/secret-broker/admin';
import { putTool } from '@bulkhead/tool-gateway/admin';
import { createCanaries } from '../support/canaries.js';
import type { Canaries } from '../support/canaries.js';
import { openLine } from '../support/line.js';
import type { Host, LineUnderTest } from '../support/line.js';
import { seededRandom } from '../support/random.js';
import type { Random } from '../support/random.js';
import { secondsOf, zeroOf } from './proof.js';
import type { Proof } from './proof.js';
import { grant } from '../support/quotas.js';

const MIXES_MAX = { tiny: 150, ci: 4_000, full: 60_000 } as const;
const TENANTS = ['acme', 'globex'] as const;
const AGENTS = ['alpha', 'beta'] as const;
const SYSTEMS = ['crm', 'erp', 'pay'] as const;
const BY = { actor: 'proof', reason: 'a forgery' };
const ulid = (): string => newUlid(Date.now());

/** A run as it was accepted, and the grants that its broker gave it. */
interface KnownRun {
  readonly tenant: TenantId;
  readonly agent: string;
  readonly envelope: Envelope;
  readonly grants: Map<string, GrantId>;
}

interface World {
  readonly line: LineUnderTest;
  readonly host: Host;
  readonly canaries: Canaries;
  readonly runs: readonly KnownRun[];
  readonly random: Random;
  readonly faults: string[];
  tried: number;
  released: number;
}

/**
 * Two tenants have secrets of the same names: one for agent alpha only, one for reading only, one for a single tool.
 * Whatever mix of tenant, agent, tool, run and grant a call claims, the credential goes out exactly when the run's own
 * row may use it and the grant is the run's own, live and wide enough. Then grants are replayed after a rotation, a
 * revocation and the end of the run, and the rows of secrets and keys are exchanged between tenants, names and versions.
 */
export const run: Proof = async ({ size, progress }) => {
  const line = await openLine();
  const random = seededRandom();
  progress(`seed ${random.seed}`);
  try {
    const world = await prepare(line, random);
    const until = performance.now() + secondsOf(size) * 600;
    // on a machine so busy that its time was over before a true call came, it goes on until one has
    for (let i = 0; i < MIXES_MAX[size] && (performance.now() < until || world.released === 0); i += 1)
      await forgedMix(world);
    progress(`${world.tried} mixes, ${world.released} of them true`);
    if (world.released === 0) world.faults.push('no true call went through: nothing was shown');
    const swapped = await exchangedRows(world);
    progress(`${swapped} exchanged rows`);
    await replayedGrants(world);
    return zeroOf('credentials released to a forgery', world.tried, world.faults);
  } finally {
    await line.close();
  }
};

async function prepare(line: LineUnderTest, random: Random): Promise<World> {
  const canaries = createCanaries();
  for (const tenant of TENANTS) {
    await grant(line.db(tenant), 'tool_calls_per_day', 10_000_000);
    for (const agent of AGENTS) {
      await line.database.asOwner(
        `INSERT INTO agents (tenant_id, id, workspace_id, name, description, workflow_type, input_schema, quota_class)
         VALUES ($1, $2, 'main', 'x', 'x', 'none', '{}', 'standard')`,
        [tenant, agent],
      );
    }
    for (const system of SYSTEMS) await makeSystem(line, canaries, tenant, system);
  }
  const runs: KnownRun[] = [];
  for (const tenant of TENANTS)
    for (const agent of AGENTS) {
      const envelope = await line.newRun(tenant);
      await line.database.asOwner('UPDATE runs SET agent_id = $1 WHERE id = $2', [agent, envelope.runId]);
      runs.push({ tenant: tenantId(tenant), agent, envelope, grants: new Map() });
    }
  const host = await line.newHost();
  const world: World = { line, host, canaries, runs, random, faults: [], tried: 0, released: 0 };
  for (const known of runs) for (const tool of TOOLS) await rememberGrant(world, known, tool);
  return world;
}

const TOOLS = SYSTEMS.flatMap((system) => [`${system}.get`, `${system}.put`]);

async function makeSystem(line: LineUnderTest, canaries: Canaries, tenant: string, system: string) {
  const rules = {
    crm: { access: 'mutate', agents: ['alpha'] },
    erp: { access: 'read' },
    pay: { access: 'mutate', tools: ['pay.put'] },
  } as const;
  await createSecret(
    line.db(tenant),
    line.keyRing,
    {
      name: system,
      value: canaries.make(tenant, system, 'v1'),
      boundHosts: [line.tool.host],
      purpose: '',
      ...structuredClone(rules[system as keyof typeof rules] as object as { access: 'read' }),
    },
    BY,
  );
  for (const [verb, method, effect] of [
    ['get', 'GET', 'read'],
    ['put', 'PATCH', 'write'],
  ] as const) {
    await putTool(line.db(tenant), `${system}.${verb}`, {
      adapter: 'http',
      description: 'x',
      inputSchema: {
        type: 'object',
        properties: { id: { type: 'string' } },
        required: ['id'],
        additionalProperties: false,
      },
      url: `${line.tool.url}/${system}/{id}`,
      method,
      effect,
      idempotency: effect === 'read' ? 'natural' : 'keyed',
      credential: { secret: system, slot: { header: 'authorization', prefix: 'Bearer ' } },
    });
  }
}

/** Who may use what, said a second time: the run's own agent, the tool, and what the tool does. */
function mayUse(known: KnownRun, tool: string): boolean {
  if (tool.startsWith('crm.')) return known.agent === 'alpha';
  return tool === 'erp.get' || tool === 'pay.put';
}

async function rememberGrant({ line, faults }: World, known: KnownRun, tool: string): Promise<void> {
  const answer = await line.broker.secretBroker(known.envelope, { toolId: toolId(tool) });
  if ((answer.kind === 'grant') !== mayUse(known, tool))
    faults.push(`${known.agent} of ${known.tenant} asked for ${tool}: ${answer.kind}`);
  if (answer.kind === 'grant') known.grants.set(tool, answer.grantId);
}

/** One call whose every part comes from somewhere: another tenant, agent, run, tool, or nowhere at all. */
async function forgedMix(world: World): Promise<void> {
  const { random, runs, line } = world;
  const base = random.pick(runs);
  // half of the parts are what they should be, or hardly a mix would be nearly right
  const either = (): KnownRun => (random.below(2) === 0 ? base : random.pick(runs));
  const tool = random.pick(TOOLS);
  const grantOf = random.below(2) === 0 ? tool : random.pick(TOOLS);
  const owner = either();
  const { tenant } = either();
  const runId =
    random.below(10) === 0 ? (`${tenant}.run.${ulid()}` as Envelope['runId']) : either().envelope.runId;
  const envelope = { ...base.envelope, tenantId: tenant, runId, agentId: agentId(random.pick(AGENTS)) };
  const grantId = random.below(10) === 0 ? buildGrantId(tenant, ulid()) : owner.grants.get(grantOf);

  const real = runs.find((known) => known.tenant === tenant && known.envelope.runId === runId);
  const isTrue = real === owner && coversGrant(grantId === owner.grants.get(grantOf), real, grantOf, tool);
  const before = line.tool.requests.length;
  const answer = await present(world, envelope, tool, grantId);
  judge(world, tenant, tool, line.tool.requests.slice(before), isTrue, answer);
  const asked = await line.broker
    .secretBroker(envelope, { toolId: toolId(tool) })
    .catch(() => ({ kind: 'thrown' }));
  if ((asked.kind === 'grant') !== (real !== undefined && mayUse(real, tool)))
    world.faults.push(`the broker answered ${asked.kind} to ${real?.agent} of ${tenant} for ${tool}`);
}

/** The same run's grant for the same system, and changing covers reading. */
function coversGrant(isKnown: boolean, real: KnownRun | undefined, grantOf: string, tool: string): boolean {
  if (!isKnown || !real || !mayUse(real, grantOf) || !mayUse(real, tool)) return false;
  return grantOf === tool || (grantOf.endsWith('.put') && tool === grantOf.replace('.put', '.get'));
}

function judge(
  world: World,
  tenant: TenantId,
  tool: string,
  sent: LineUnderTest['tool']['requests'],
  isTrue: boolean,
  answer: string,
): void {
  const [system] = tool.split('.');
  const own = world.canaries.made.find((one) => one.tenant === tenant && one.field === system)?.value;
  if (sent.some(({ headers }) => headers.authorization !== `Bearer ${own}`))
    world.faults.push(`${tool}: another credential than the tenant's own was sent`);
  if (isTrue) {
    world.released += 1;
    if (answer !== 'ok') world.faults.push(`a true call of ${tool} was answered ${answer}`);
  } else if (sent.length > 0) world.faults.push(`${tool} went out on a forged mix`);
}

/** Past the broker, straight to the gateway, as a workflow could that was made to present what it did not get. */
async function present(
  world: World,
  envelope: Envelope,
  tool: string,
  grantId: GrantId | undefined,
  host = world.host,
): Promise<string> {
  world.tried += 1;
  const request = {
    toolId: toolId(tool),
    args: { id: `n${world.tried}` },
    segment: 0,
    n: 0,
    ...(grantId === undefined ? {} : { grantId }),
  };
  return host
    .gateway(envelope, request, {
      workflowId: envelope.runId,
      temporalRunId: randomUUID(),
      onExpensiveQueue: false,
      attempt: 1,
      host: host.id,
      token: randomUUID(),
      signal: new AbortController().signal,
      heartbeat: () => undefined,
    })
    .then(({ kind }: CallAnswer) => kind)
    .catch((error: unknown) => (error instanceof BulkheadError ? error.code : String(error)));
}

/** Exchanges what two rows hold, each column alone and all together. */
const EXCHANGES: readonly (readonly [columns: string, a: string, b: string])[] = [
  ['ciphertext', "tenant_id = 'acme' AND name = 'crm'", "tenant_id = 'globex' AND name = 'crm'"],
  ['wrapped_key', "tenant_id = 'acme' AND name = 'crm'", "tenant_id = 'globex' AND name = 'crm'"],
  ['wrapped_key, ciphertext', "tenant_id = 'acme' AND name = 'crm'", "tenant_id = 'globex' AND name = 'crm'"],
  ['wrapped_key, ciphertext', "tenant_id = 'acme' AND name = 'crm'", "tenant_id = 'acme' AND name = 'erp'"],
  ['wrapped_key, ciphertext', "tenant_id = 'acme' AND name = 'crm'", "tenant_id = 'globex' AND name = 'pay'"],
  [
    'wrapped_key, ciphertext, key_id',
    "tenant_id = 'acme' AND name = 'crm'",
    "tenant_id = 'globex' AND name = 'crm'",
  ],
];

/** Each with a broker that remembers nothing: both rows must fail to open, and nothing may be sent. @returns how many */
async function exchangedRows(world: World): Promise<number> {
  const { line, faults, runs } = world;
  let failed = 0;
  for (const [columns, a, b] of EXCHANGES) {
    const exchange = (): Promise<unknown> => exchangeRows(line, columns, a, b);
    await exchange();
    for (const where of [a, b]) {
      const [, tenant, system] = /tenant_id = '(\w+)' AND name = '(\w+)'/.exec(where) ?? [];
      const tool = system === 'erp' ? 'erp.get' : `${system}.put`;
      const victim = runs.find((known) => known.tenant === tenant && known.agent === 'alpha')!;
      const before = line.tool.requests.length;
      const broker = createSecretBroker({ door: line.door, keyRing: line.keyRing, newUlid: ulid });
      const answer = await present(
        world,
        victim.envelope,
        tool,
        victim.grants.get(tool),
        await line.newHost({ broker }),
      );
      if (answer === 'provider_unavailable') failed += 1;
      else faults.push(`${columns} of ${where} was exchanged: answered ${answer}`);
      if (line.tool.requests.length > before) faults.push(`${columns} of ${where}: a request was sent`);
    }
    await exchange();
  }
  const answer = await present(world, runs[0]!.envelope, 'crm.put', runs[0]!.grants.get('crm.put'));
  if (answer !== 'ok') faults.push(`back in their places the rows do not open: ${answer}`);
  return failed;
}

function exchangeRows(line: LineUnderTest, columns: string, a: string, b: string): Promise<unknown> {
  const list = columns.split(', ');
  const set = list.map((column) => `${column} = other.${column}`).join(', ');
  return line.database.asOwner(
    `UPDATE secret_versions v SET ${set} FROM secret_versions other
      WHERE (v.tenant_id, v.name) <> (other.tenant_id, other.name) AND v.version = 1 AND other.version = 1
        AND ((${qualified('v', a)} AND ${qualified('other', b)}) OR (${qualified('v', b)} AND ${qualified('other', a)}))`,
  );
}
const qualified = (alias: string, where: string): string =>
  where.replaceAll(/tenant_id|name/g, `${alias}.$&`);

/** A grant that was good and is no more. */
async function replayedGrants(world: World): Promise<void> {
  const { line, runs, faults } = world;
  const alpha = runs.find(({ tenant, agent }) => tenant === 'acme' && agent === 'alpha')!;
  const replay = async (tool: string, what: string, wanted: readonly string[]): Promise<void> => {
    const before = line.tool.requests.length;
    for (let again = 0; again < 5; again += 1) {
      const answer = await present(world, alpha.envelope, tool, alpha.grants.get(tool));
      if (!wanted.includes(answer)) faults.push(`replayed after ${what}: ${answer}`);
    }
    if (line.tool.requests.length > before) faults.push(`replayed after ${what}: a request was sent`);
  };
  await rotateSecret(
    line.db('acme'),
    line.keyRing,
    { name: 'crm', value: world.canaries.make('acme', 'crm', 'v2') },
    BY,
  );
  await replay('crm.put', 'a rotation', ['grant_stale']);
  await revokeSecrets(line.db('acme'), {
    id: buildRevocationId(tenantId('acme'), ulid()),
    scope: 'secret',
    secret: 'pay',
    version: undefined,
    target: undefined,
    dryRun: false,
    boundMs: 1_000,
    ...BY,
  });
  await replay('pay.put', 'a revocation', ['grant_stale']);
  await line.database.asOwner("UPDATE runs SET state = 'completed', finished_at = now() WHERE id = $1", [
    alpha.envelope.runId,
  ]);
  await replay('erp.get', 'the end of its run', ['EFFECT_HELD']);
}
