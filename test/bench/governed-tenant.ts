import { agentId, workspaceId } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import { publishPolicy } from '@bulkhead/policy/admin';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { storeSecret } from '@bulkhead/secret-broker/admin';
import { putAgent } from '@bulkhead/tenancy/admin';
import { putTool } from '@bulkhead/tool-gateway/admin';
import pg from 'pg';
import { grant } from '../support/quotas.ts';

/** The conditions under which a governed call is measured. */
const RULES = 1_000;
const CONDITIONAL_RULES = 20;
const JOURNAL_ROWS = 100_000;
const EFFECT_ROWS = 2_000;
export const CREDENTIAL = 'bench-credential-0123456789';

/** A credential, the tool that both arms call, a policy of 1,000 rules of which 20 are conditional on it, a quota, an agent. */
export async function prepare(
  db: TenantDb,
  keyRing: Parameters<typeof storeSecret>[1],
  toolUrl: string,
): Promise<void> {
  await storeSecret(db, keyRing, {
    name: 'helpdesk',
    access: 'mutate',
    boundHost: new URL(toolUrl).host,
    value: CREDENTIAL,
  });
  const text = { type: 'string' };
  await putTool(db, 'helpdesk.ticket.update', {
    adapter: 'http',
    method: 'PATCH',
    url: toolUrl.replace('T-1', '{ticketId}'),
    description: 'The call that both arms make.',
    effect: 'write',
    idempotency: 'keyed',
    inputSchema: {
      type: 'object',
      properties: { ticketId: text, answer: text },
      required: ['ticketId', 'answer'],
      additionalProperties: false,
    },
    credential: { secret: 'helpdesk', slot: { header: 'authorization', prefix: 'Bearer ' } },
  });
  const other = Array.from({ length: RULES - CONDITIONAL_RULES - 1 }, (_, i) => ({
    id: `other-${i}`,
    effect: 'allow',
    tools: [`system${i}.thing.do`],
  }));
  const conditional = Array.from({ length: CONDITIONAL_RULES }, (_, i) => ({
    id: `deny-${i}`,
    effect: 'deny',
    tools: ['helpdesk.ticket.update'],
    when: { 'args.answer': { eq: `forbidden ${i}` } },
  }));
  const rules = [
    ...other,
    ...conditional,
    { id: 'allow', effect: 'allow', tools: ['helpdesk.ticket.update'] },
  ];
  await publishPolicy(db, { profile: 'default', document: { rules }, publishedBy: 'bench', reason: 'B1' });
  await grant(db, 'tool_calls_per_day', 1_000_000);
  await putAgent(db, {
    id: agentId('chain'),
    workspaceId: workspaceId('main'),
    name: 'chain',
    description: 'B1',
    workflowType: 'longChain',
    inputSchema: { type: 'object' },
  });
}

/**
 * An earlier life: 100,000 records, sealed, so that the sealer goes on from their head, the runs that they tell of, and the effects
 * of some of these. PostgreSQL knows the tables as they are then; plans made on empty ones are those of no installation.
 */
export async function fillJournal(ownerUrl: string, tenant: TenantId): Promise<void> {
  const owner = new pg.Client({ connectionString: ownerUrl });
  await owner.connect();
  await owner.query(
    `WITH head AS (UPDATE journal_heads SET seq = $2 WHERE tenant_id = $1)
     INSERT INTO journal_records (tenant_id, kind, run_id, key, body, seq, prev_hash, hash)
     SELECT $1, 'close', $1 || '.run.earlier-' || i / 10, md5(i::text), '{"outcome":"ok"}', i, sha256('p'), sha256(i::text::bytea)
       FROM generate_series(1, $2::bigint) AS i`,
    [tenant, JOURNAL_ROWS],
  );
  await owner.query(
    `INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor, state, finished_at)
     SELECT $1, $1 || '.run.earlier-' || i, 'main', 'chain', 'longChain', 'earlier-' || i, sha256('i'), '{}', 'e', 'key:bench', 'completed', now()
       FROM generate_series(0, $2::bigint / 10) AS i`,
    [tenant, JOURNAL_ROWS],
  );
  await owner.query(
    `INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency, state, outcome,
       holder_host, holder_token, policy_version, rule, target, "window", charged, request, result, deadline_at, closed_at)
     SELECT $1, md5(i::text), $1 || '.run.earlier-' || i / 10, $1 || '.run.earlier-' || i / 10, 't', 'helpdesk.ticket.update', 1, 'write', 'keyed',
            'closed', 'ok', 'h', 't', 1, 'allow', 'x', 'd', 1, '\\x00', '\\x00', now(), now()
       FROM generate_series(1, $2::bigint) AS i`,
    [tenant, EFFECT_ROWS],
  );
  // what it would do by itself in the middle of a round
  await owner.query('VACUUM (ANALYZE)');
  await owner.query('CHECKPOINT');
  await owner.end();
}
