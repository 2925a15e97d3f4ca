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

/** 100,000 records of an earlier life: sealed, so that the sealer goes on from their head. */
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
  await owner.query('ANALYZE');
  await owner.end();
}
