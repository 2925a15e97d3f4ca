import { BulkheadError, canonicalJson, toolId as parseToolId } from '@bulkhead/contract';
import type { Json, ToolId } from '@bulkhead/contract';
import { ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { ToolSpec } from '@bulkhead/contract/schemas';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import { mappingProblem } from './compensation.js';
import { holdOf } from './hold.js';
import { badSpec, checkedSpec } from './spec-check.js';

export interface ToolInfo {
  readonly id: ToolId;
  readonly version: number;
  readonly enabled: boolean;
  /** Why it is off. */
  readonly disabledReason: string | undefined;
  /** Calls are answered `provider_unavailable` until then, and why; undefined when that time is over. */
  readonly hold: { readonly kind: string; readonly message: string; readonly until: Date } | undefined;
  /** What the MCP server offers, when that is not what was approved. */
  readonly offer: Json | undefined;
  readonly description: string;
  readonly adapter: string;
  readonly effect: string;
  readonly idempotency: string;
  readonly expensive: boolean;
  readonly dataClasses: readonly string[];
  readonly inputSchema: Json;
  /** The whole declaration, as it is stored. It names a credential and never holds one. */
  readonly spec: Json;
}

export interface ToolVersionInfo {
  readonly version: number;
  readonly spec: Json;
  readonly actor: string;
  readonly reason: string;
  readonly at: Date;
}

/** Who changes a tool, and why: journalled with the change. */
export interface ChangedBy {
  readonly actor: string;
  readonly reason: string;
}
const SETUP: ChangedBy = { actor: 'platform', reason: 'declared at setup' };

/** Tools of one tenant at most: each is a compiled schema in the hosts' memory. */
export const TOOLS_MAX = 500;

/** The tool must be new (`register`), must be there (`update`), or may be either. */
type Presence = 'absent' | 'present' | 'either';

/**
 * Declares a tool. The same declaration again changes nothing; another one raises the version, is kept beside the
 * earlier ones, and calls that were decided for the old one are decided again.
 * @throws BulkheadError BAD_INPUT with the field that is wrong; NOT_FOUND, INVALID_STATE when presence is not as wanted.
 */
export async function putTool(
  db: TenantDb,
  id: string,
  spec: Json,
  by: ChangedBy = SETUP,
  presence: Presence = 'either',
): Promise<{ readonly version: number; readonly changed: boolean }> {
  const toolId = checkedId(id, presence);
  const wanted = checkedSpec(spec);
  const where = { tenantId_id: { tenantId: db.tenantId, id: toolId } };
  return db.change(async (tx) => {
    const row = await tx.tool.findUnique({ where });
    checkPresence(row !== null, presence);
    await checkRoom(tx, row !== null, wanted, toolId);
    if (row && canonicalJson(row.spec as Json) === canonicalJson(wanted as Json)) {
      return { version: row.version, changed: false };
    }
    const version = (row?.version ?? 0) + 1;
    await keepVersion(tx, db.tenantId, toolId, version, wanted, by);
    return { version, changed: true };
  });
}

/** The new declaration, its place in the history and its record, in the caller's transaction. */
export async function keepVersion(
  tx: TenantClient,
  tenantId: TenantDb['tenantId'],
  toolId: ToolId,
  version: number,
  spec: ToolSpec,
  { actor, reason }: ChangedBy,
): Promise<void> {
  const where = { tenantId_id: { tenantId, id: toolId } };
  // what a provider or a breaker said was about the old declaration
  const data = { spec: spec as object, version, updatedAt: new Date(), heldUntil: null };
  await tx.tool.upsert({ where, create: { tenantId, id: toolId, ...data }, update: data });
  await tx.toolVersion.create({ data: { tenantId, toolId, version, spec: spec as object, actor, reason } });
  await record(tx, tenantId, { change: 'tool_declared', toolId, version, by: actor, reason });
}

/** Switches a tool on or off; off holds from the commit on. @throws BulkheadError NOT_FOUND */
export async function setToolEnabled(
  db: TenantDb,
  id: string,
  enabled: boolean,
  { actor, reason }: ChangedBy = SETUP,
): Promise<void> {
  const { tenantId } = db;
  await db.change(async (tx) => {
    const data = { enabled, disabledReason: enabled ? null : reason, updatedAt: new Date() };
    const { count } = await tx.tool.updateMany({ where: { id }, data });
    if (count === 0) throw notFound();
    const change = enabled ? 'tool_enabled' : 'tool_disabled';
    await record(tx, tenantId, { change, toolId: id, by: actor, reason });
  });
}

/** The tenant's tools by id; at most 500. */
export async function listTools(db: TenantDb): Promise<readonly ToolInfo[]> {
  const rows = await db.run((tx) => tx.tool.findMany({ orderBy: { id: 'asc' }, take: TOOLS_MAX }));
  return rows.map(infoOf);
}

/** @throws BulkheadError NOT_FOUND */
export async function findTool(db: TenantDb, id: string): Promise<ToolInfo> {
  const { tenantId } = db;
  const row = await db.run((tx) => tx.tool.findUnique({ where: { tenantId_id: { tenantId, id } } }));
  if (!row) throw notFound();
  return infoOf(row);
}

/** What the tool was, newest first; at most 100. Empty for a tool that is not there. */
export async function toolHistory(db: TenantDb, id: string): Promise<readonly ToolVersionInfo[]> {
  const rows = await db.run((tx) =>
    tx.toolVersion.findMany({ where: { toolId: id }, orderBy: { version: 'desc' }, take: 100 }),
  );
  return rows.map(({ version, spec, actor, reason, at }) => ({
    version,
    spec: spec as Json,
    actor,
    reason,
    at,
  }));
}

type ToolRow = NonNullable<Awaited<ReturnType<TenantClient['tool']['findUnique']>>>;

function infoOf(row: ToolRow): ToolInfo {
  const spec = ToolSpecSchema.parse(row.spec);
  const hold = holdOf(row);
  const { description, adapter, effect, idempotency, expensive, dataClasses, inputSchema } = spec;
  return {
    id: row.id as ToolId,
    version: row.version,
    enabled: row.enabled,
    disabledReason: row.disabledReason ?? undefined,
    hold: hold && hold.untilMs > Date.now() ? { ...hold, until: new Date(hold.untilMs) } : undefined,
    offer: (row.offer as Json | null) ?? undefined,
    description,
    adapter,
    effect,
    idempotency,
    expensive,
    dataClasses,
    inputSchema: inputSchema as Json,
    spec: spec as Json,
  };
}

/** An id that is none names no tool: when one must be there, that is the same as one that is not. */
function checkedId(id: string, presence: Presence): ToolId {
  try {
    return parseToolId(id);
  } catch (cause) {
    if (presence === 'present') throw notFound();
    throw new BulkheadError('BAD_INPUT', {
      field: 'id',
      publicMessage: 'id: must look like `system.action`',
      cause,
    });
  }
}

function checkPresence(isThere: boolean, presence: Presence): void {
  if (presence === 'present' && !isThere) throw notFound();
  if (presence === 'absent' && isThere) {
    throw new BulkheadError('INVALID_STATE', { field: 'id', publicMessage: 'There is a tool of this id.' });
  }
}

/** The tool that undoes this one must be there, and there is room for one more. */
async function checkRoom(tx: TenantClient, isThere: boolean, spec: ToolSpec, toolId: ToolId): Promise<void> {
  const undo = spec.compensation?.tool;
  if (spec.compensation && undo !== undefined) {
    const found = await tx.tool.findFirst({ where: { id: undo }, select: { spec: true } });
    if (!found || undo === toolId) throw badSpec('compensation.tool', `there is no other tool ${undo}`);
    const problem = mappingProblem(spec.compensation, ToolSpecSchema.parse(found.spec));
    if (problem) throw badSpec(problem.field, problem.message);
  }
  if (!isThere && (await tx.tool.count()) >= TOOLS_MAX) {
    throw badSpec('id', `a tenant has at most ${TOOLS_MAX} tools`);
  }
}

export const notFound = (): BulkheadError => new BulkheadError('NOT_FOUND', { field: 'id' });

export async function record(
  tx: TenantClient,
  tenantId: string,
  body: Record<string, string | number>,
): Promise<void> {
  await tx.journalRecord.create({ data: { tenantId, kind: 'control', body } });
}
