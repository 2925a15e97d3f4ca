import { z } from 'zod';
import { BulkheadError, parseApprovalId } from '@bulkhead/contract';
import type { Json, RunId, SealArguments, ToolId } from '@bulkhead/contract';
import type { Prisma, TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import { PURPOSES } from '@bulkhead/runtime/keys';
import type { KeyRing } from '@bulkhead/runtime/keys';

type Ring = Pick<KeyRing, 'open'>;
type Row = NonNullable<Awaited<ReturnType<TenantClient['approval']['findUnique']>>>;

export interface Approval {
  readonly id: string;
  readonly runId: RunId;
  readonly toolId: ToolId;
  readonly target: string;
  readonly rule: string;
  /** The exact arguments that an approval would allow, nothing else; undefined once they are removed. */
  readonly arguments: Json | undefined;
  readonly argumentsRemovedAt: Date | undefined;
  /** pending | approved | rejected | expired | void */
  readonly state: string;
  readonly requestedBy: string;
  readonly approvers: readonly string[];
  readonly decidedBy: string | undefined;
  readonly decidedAt: Date | undefined;
  readonly reason: string | undefined;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  /** What the call would do, as the gateway resolved it; undefined for one that was asked for before this was kept. */
  readonly consequences: Consequences | undefined;
}

/** None of it is said by the agent: it stands in the declaration that was in force, or was resolved from the arguments. */
export interface Consequences {
  /** Of the tool, by whoever registered it. */
  readonly description: string;
  /** read | write | irreversible */
  readonly effect: string;
  /** Whether a repetition is harmless: keyed | natural | none */
  readonly idempotency: string;
  /** Name of the secret that is sent along; undefined: none. */
  readonly credential: string | undefined;
  /** Where exactly the request goes. */
  readonly destination: string;
  readonly adapter: string;
  readonly toolVersion: number;
}

export interface ApprovalPage {
  /** 1 to 100. */
  readonly first: number;
  /** Id of the last approval of the page before. */
  readonly after?: string | undefined;
  readonly state?: string | undefined;
  /** Which approvals the reader reaches. */
  readonly within: Prisma.ApprovalWhereInput;
}

/** Approvals, newest first. Their ids order by time, so an id is the cursor. */
export async function listApprovals(
  db: TenantDb,
  keyRing: Ring,
  page: ApprovalPage,
): Promise<{ readonly nodes: readonly Approval[]; readonly endCursor: string | undefined }> {
  const first = Math.min(Math.max(page.first, 1), 100);
  const asked = {
    ...(page.after === undefined ? {} : { id: { lt: page.after } }),
    ...(page.state === undefined ? {} : inState(page.state, new Date())),
  };
  const where = { AND: [page.within, asked] };
  const rows = await db.run((tx) =>
    tx.approval.findMany({ where, orderBy: { id: 'desc' }, take: first + 1 }),
  );
  const shown = rows.slice(0, first);
  const nodes = await Promise.all(shown.map((row) => view(db, keyRing, row)));
  return { nodes, endCursor: rows.length > first ? shown.at(-1)?.id : undefined };
}

/** What tells whether an approval is new or has ended; its arguments stay sealed. */
export interface StandingApproval {
  readonly id: string;
  /** pending | approved | rejected | expired | void */
  readonly state: string;
  readonly expiresAt: Date;
}

/** Those named, or without `ids` those that are pending: of those within reach the newest 100, newest first. */
export async function standingApprovals(
  db: TenantDb,
  which: { readonly ids?: readonly string[]; readonly within: Prisma.ApprovalWhereInput },
): Promise<readonly StandingApproval[]> {
  const now = new Date();
  const asked = which.ids ? { id: { in: [...which.ids] } } : inState('pending', now);
  const rows = await db.run((tx) =>
    tx.approval.findMany({
      where: { AND: [which.within, asked] },
      select: { id: true, state: true, expiresAt: true },
      orderBy: { id: 'desc' },
      take: 100,
    }),
  );
  return rows.map((row) => ({ ...row, state: stateOf(row, now) }));
}

/** undefined: there is none within reach. */
export async function findApproval(
  db: TenantDb,
  keyRing: Ring,
  id: string,
  within: Prisma.ApprovalWhereInput,
): Promise<Approval | undefined> {
  const row = await db.run((tx) => tx.approval.findFirst({ where: { AND: [{ id }, within] } }));
  return row ? view(db, keyRing, row) : undefined;
}

/** What has expired is told as expired before the control process has come to write it down. */
function inState(state: string, now: Date): Prisma.ApprovalWhereInput {
  if (state === 'pending') return { state, expiresAt: { gt: now } };
  if (state === 'expired') return { OR: [{ state }, { state: 'pending', expiresAt: { lte: now } }] };
  return { state };
}

const stateOf = (row: Pick<Row, 'state' | 'expiresAt'>, now: Date): string =>
  row.state === 'pending' && row.expiresAt <= now ? 'expired' : row.state;

const Decided = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('decided'), runId: z.string() }),
  z.object({ kind: z.literal('not_found') }),
  z.object({ kind: z.literal('not_pending'), state: z.string() }),
  z.object({ kind: z.literal('expired') }),
  z.object({ kind: z.literal('not_approver') }),
]);

/**
 * A person decides; the row is the decision and the run is woken at least once, by a signal whose argument is sealed here.
 * `within` is what the decider reaches.
 * @throws BulkheadError NOT_FOUND, INVALID_STATE (decided or expired), FORBIDDEN (not an approver, or answers for the run:
 * started, signalled or reset it)
 */
export async function decideApproval(
  db: TenantDb,
  { keyRing, sealArguments }: { readonly keyRing: Ring; readonly sealArguments: SealArguments },
  decision: {
    readonly approvalId: string;
    readonly decision: 'approved' | 'rejected';
    readonly decidedBy: string;
    readonly role: string;
    readonly reason: string | undefined;
  },
  within: Prisma.ApprovalWhereInput,
): Promise<Approval> {
  const id = decision.approvalId;
  if (parseApprovalId(id)?.tenantId !== db.tenantId) throw new BulkheadError('NOT_FOUND', { field: 'id' });
  const reached = await db.run((tx) => tx.approval.count({ where: { AND: [{ id }, within] } }));
  if (reached === 0) throw new BulkheadError('NOT_FOUND', { field: 'id' });
  const answer = Decided.parse(
    await db.call('decide_approval', {
      ...decision,
      args: await sealArguments(db.tenantId, [{ approvalId: id }]),
    }),
  );
  switch (answer.kind) {
    case 'not_found':
      throw new BulkheadError('NOT_FOUND', { field: 'id' });
    case 'not_pending':
      throw new BulkheadError('INVALID_STATE', {
        publicMessage: `This approval is already ${answer.state}.`,
      });
    case 'expired':
      throw new BulkheadError('INVALID_STATE', { publicMessage: 'This approval has expired.' });
    case 'not_approver':
      throw new BulkheadError('FORBIDDEN', {
        publicMessage:
          'The rule wants somebody else to decide: another role, and neither who started nor who steered the run.',
      });
    case 'decided':
      return get(db, keyRing, id);
  }
}

async function get(db: TenantDb, keyRing: Ring, id: string): Promise<Approval> {
  const approval = await findApproval(db, keyRing, id, {});
  if (!approval) throw new BulkheadError('NOT_FOUND', { field: 'id' });
  return approval;
}

/** Written by the gateway before it asked; see PURPOSES.effectRequest. */
const Request = z.object({
  // as it stands: zod's own JSON schema leaves out what is called `__proto__`, and it would be sent all the same
  facts: z.object({ args: z.custom<Json>((value) => value !== undefined) }),
  target: z.string().optional(),
  adapter: z.string().optional(),
  shown: z
    .object({
      description: z.string(),
      effect: z.string(),
      idempotency: z.string(),
      credential: z.string().nullable(),
    })
    .optional(),
});

function consequencesOf(request: z.infer<typeof Request>, row: Row): Consequences | undefined {
  const { shown, target, adapter } = request;
  if (!shown || target === undefined || adapter === undefined) return undefined;
  const { credential, ...declared } = shown;
  const { toolVersion } = row;
  return { ...declared, credential: credential ?? undefined, destination: target, adapter, toolVersion };
}

/** undefined: removed. */
async function requestOf(
  db: TenantDb,
  keyRing: Ring,
  row: Row,
): Promise<z.infer<typeof Request> | undefined> {
  if (row.request === null) return undefined;
  const text = (await keyRing.open(db.tenantId, PURPOSES.effectRequest, row.request)).toString('utf8');
  return Request.parse(JSON.parse(text));
}

async function view(db: TenantDb, keyRing: Ring, row: Row): Promise<Approval> {
  const request = await requestOf(db, keyRing, row);
  return {
    id: row.id,
    runId: row.runId as RunId,
    toolId: row.toolId as ToolId,
    target: row.target,
    rule: row.rule,
    arguments: request?.facts.args,
    argumentsRemovedAt: row.requestRemovedAt ?? undefined,
    state: stateOf(row, new Date()),
    requestedBy: row.requestedBy,
    approvers: row.approvers,
    decidedBy: row.decidedBy ?? undefined,
    decidedAt: row.decidedAt ?? undefined,
    reason: row.reason ?? undefined,
    createdAt: row.createdAt,
    expiresAt: row.expiresAt,
    consequences: request && consequencesOf(request, row),
  };
}
