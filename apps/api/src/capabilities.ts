import { listJournal, noteDecode, noteReads } from '@bulkhead/journal/admin';
import { decideApproval, findApproval, listApprovals, standingApprovals } from '@bulkhead/policy/admin';
import type { SealArguments } from '@bulkhead/contract';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { createSecret, rotateSecret } from '@bulkhead/secret-broker/admin';
import { listTools } from '@bulkhead/tool-gateway/admin';
import type { ApiDeps } from './deps.js';

/** What other rooms offer to people, in the shape that the resolvers ask for. */
export function capabilities(
  keyRing: KeyRing,
  sealArguments: SealArguments,
): Pick<ApiDeps, 'approvals' | 'secrets' | 'tools' | 'journal'> {
  return {
    approvals: {
      list: (db, page) => listApprovals(db, keyRing, page),
      standing: standingApprovals,
      find: (db, id, within) => findApproval(db, keyRing, id, within),
      decide: (db, decision, within) => decideApproval(db, { keyRing, sealArguments }, decision, within),
    },
    secrets: {
      create: (db, secret, by) => createSecret(db, keyRing, secret, by),
      rotate: (db, change, by) => rotateSecret(db, keyRing, change, by),
    },
    tools: { list: (db) => listTools(db) },
    journal: { list: (db, runId) => listJournal(db, runId), noteDecode, noteReads },
  };
}
