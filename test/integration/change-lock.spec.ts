import pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { openTenantDoor } from '@bulkhead/prisma/tenant';
import type { TenantDb, TenantDoor } from '@bulkhead/prisma/tenant';
import { grantQuota, setOwnQuota } from '@bulkhead/quota/admin';
import type { QuotaChange } from '@bulkhead/quota/admin';
import { freshDatabase } from '../support/database.js';
import type { TestDatabase } from '../support/database.js';

/** The database functions of the line, called as they stand: what must hold whatever the code above them does. */
const TENANT = tenantId('acme');
const RUN = 'acme.run.01kb3v6r2e8m4q7x9z0a1b2c3d';
let database: TestDatabase;
let door: TenantDoor;
let db: TenantDb;
let calls = 0;

const publish = (): Promise<unknown> =>
  db.call('publish_policy', {
    profile: 'default',
    document: { rules: [] },
    publishedBy: 'admin',
    reason: 'test',
  });

function admit(change: Record<string, Json> = {}): Promise<unknown> {
  return db.call('admit', {
    runId: RUN,
    workflowId: RUN,
    temporalRunId: 't',
    agentId: 'agent',
    key: `key-${calls}`,
    toolId: 'desk.update',
    toolVersion: 1,
    effectClass: 'write',
    idempotency: 'keyed',
    policyProfile: 'default',
    policyVersion: 1,
    rule: 'rule',
    approval: null,
    system: 'desk',
    access: 'mutate',
    digest: '00',
    target: 'desk',
    request: 'AAAA',
    host: 'host',
    token: 'token',
    timeoutMs: 1000,
    ...change,
  });
}

beforeAll(async () => {
  database = await freshDatabase();
  door = openTenantDoor({ url: database.appUrl, poolMax: 8, onError: () => undefined });
  db = door.tenant(TENANT);
  await db.run(async (tx) => {
    await tx.tenant.create({
      data: { id: TENANT, name: 'Acme', namespace: 'tnt-acme', taskQueue: 'q', status: 'active' },
    });
    await tx.tool.create({ data: { tenantId: TENANT, id: 'desk.update', spec: {} } });
    await tx.run.create({
      data: {
        tenantId: TENANT,
        id: RUN,
        workspaceId: 'main',
        agentId: 'agent',
        workflowType: 'w',
        idempotencyKey: 'k',
        inputDigest: Buffer.alloc(32),
        input: {},
        envelope: 'e',
        actor: 'key:operator',
      },
    });
  });
  await publish();
  await door.host('host_register', 'host');
});
afterAll(async () => {
  await door.close();
  await database.drop();
});
beforeEach(() => {
  calls += 1;
});

/** Another session in an open transaction, as an admit or a publish that has not committed yet. */
async function openTransaction(statement: string, values: unknown[]): Promise<() => Promise<void>> {
  const client = new pg.Client({ connectionString: database.appUrl });
  await client.connect();
  await client.query('BEGIN');
  await client.query("SELECT set_config('app.tenant', 'acme', true)");
  await client.query(statement, values);
  return async () => {
    await client.query('COMMIT');
    await client.end();
  };
}

const somebodyWaits = (): Promise<void> =>
  vi.waitFor(
    async () => {
      const waiting = await database.asOwner(
        "SELECT 1 FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted",
      );
      expect(waiting).toHaveLength(1);
    },
    { timeout: 5_000, interval: 10 },
  );

describe('a change of policy', () => {
  it('waits for every admit in flight, so that "published" means that nothing is admitted under the old version', async () => {
    const commitAdmit = await openTransaction('SELECT lock_tenant_shared($1)', [TENANT]);
    let published = false;
    const publishing = publish().then(() => (published = true));
    await somebodyWaits();
    expect(published).toBe(false);
    await commitAdmit();
    await publishing;
    expect(published).toBe(true);
  });

  it('is seen by an admit that waited for it: the race between decision and publish is lost by the old decision', async () => {
    const [head] = await database.asOwner<{ version: number }>('SELECT version FROM policy_heads');
    const version = head?.version ?? 0;
    const document = {
      tenantId: TENANT,
      profile: 'default',
      document: { rules: [] },
      publishedBy: 'admin',
      reason: 'race',
    };
    const commitPublish = await openTransaction('SELECT publish_policy($1::jsonb)', [
      JSON.stringify(document),
    ]);
    const admitting = admit({ policyVersion: version });
    await somebodyWaits();
    await commitPublish();
    expect(await admitting).toEqual({ kind: 'policy_moved' });
  });
});

it.each([
  ['granted', (change: QuotaChange) => grantQuota(db, change)],
  ['of the tenant itself', (change: QuotaChange) => setOwnQuota(db, change)],
])('a limit %s waits for every admit in flight, so that none of them is beyond it', async (_, setLimit) => {
  const commitAdmit = await openTransaction('SELECT lock_tenant_shared($1)', [TENANT]);
  let isSet = false;
  const setting = setLimit({
    layer: 'tool_calls_per_day',
    limit: 900,
    reason: 'test',
    actor: 'key:admin',
  }).then(() => (isSet = true));
  await somebodyWaits();
  expect(isSet).toBe(false);
  await commitAdmit();
  await setting;
});

describe('an approval', () => {
  const obligation = (id: string): Json => ({
    approvers: ['admin'],
    expiresInSeconds: 60,
    newApprovalId: id,
    requestedBy: 'key:operator',
  });
  const approve = (approvalId: string): Promise<unknown> =>
    db.call('decide_approval', {
      approvalId,
      decision: 'approved',
      decidedBy: 'key:admin',
      role: 'admin',
      reason: null,
    });

  it.each([
    ['exact call (tool, destination, credential or arguments changed after it was given)', { digest: '01' }],
    ['rule that asked for it', { rule: 'another-rule' }],
  ])('is bound to the %s: it is asked for again', async (_, changed) => {
    const [head] = await database.asOwner<{ version: number }>('SELECT version FROM policy_heads');
    const policyVersion = head?.version ?? 0;
    const first = `acme.approval.${calls}a`;
    const second = `acme.approval.${calls}b`;
    expect(await admit({ policyVersion, approval: obligation(first) })).toMatchObject({ approvalId: first });
    expect(await approve(first)).toMatchObject({ kind: 'decided' });
    expect(await admit({ policyVersion, approval: obligation(second), ...changed })).toMatchObject({
      kind: 'approval_required',
      approvalId: second,
    });
    // and it stays void: what was approved under another decision does not come back with the old one
    const third = `acme.approval.${calls}c`;
    expect(await admit({ policyVersion, approval: obligation(third) })).toMatchObject({ approvalId: third });
    expect(await approve(third)).toMatchObject({ kind: 'decided' });
    expect(await admit({ policyVersion, approval: obligation('acme.approval.unused') })).toMatchObject({
      kind: 'admitted',
    });
  });

  it('is void when other people may decide now', async () => {
    const [head] = await database.asOwner<{ version: number }>('SELECT version FROM policy_heads');
    const policyVersion = head?.version ?? 0;
    const first = `acme.approval.${calls}a`;
    await admit({ policyVersion, approval: obligation(first) });
    await approve(first);
    const stricter = { ...(obligation(`acme.approval.${calls}b`) as object), approvers: ['owner'] } as Json;
    expect(await admit({ policyVersion, approval: stricter })).toMatchObject({ kind: 'approval_required' });
  });
});

describe('a tenant that is stopped,', () => {
  const accept = (): Promise<unknown> =>
    db.call('accept_run', {
      id: `acme.run.stopped${calls}`,
      workspaceId: 'main',
      agentId: 'agent',
      workflowType: 'w',
      idempotencyKey: `stopped-${calls}`,
      inputDigest: '00',
      input: {},
      envelope: 'e',
      actor: 'key:operator',
    });
  afterEach(() => database.asOwner("UPDATE tenants SET status = 'active'"));

  // whoever asks the database for a run, whatever was checked before
  it.each([
    ['suspended', 'TENANT_SUSPENDED', 0],
    ['offboarding', 'TENANT_SUSPENDED', 0],
    ['erasing', 'TENANT_SUSPENDED', 0],
    ['offboarded', 'TENANT_SUSPENDED', 0],
    ['provisioning', 'accepted', 1],
    ['active', 'accepted', 1],
    ['resuming', 'accepted', 1],
  ])('and one that is %s: a new run is %s', async (status, expected, runs) => {
    await database.asOwner('UPDATE tenants SET status = $1', [status]);
    const count = () => db.run((tx) => tx.run.count());
    const before = await count();
    const answer = await accept().then(
      (accepted) => (accepted as { kind: string }).kind,
      (error: { code?: string }) => error.code,
    );
    expect(answer).toBe(expected);
    expect(await count()).toBe(before + runs);
  });
});
