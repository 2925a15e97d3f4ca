import { Ajv2020 } from 'ajv/dist/2020.js';
import { BulkheadError, canonicalJson, toolId as parseToolId } from '@bulkhead/contract';
import type { Json, ToolId } from '@bulkhead/contract';
import { schemaProblem, ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { ToolSpec } from '@bulkhead/contract/schemas';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';

export interface ToolInfo {
  readonly id: ToolId;
  readonly version: number;
  readonly enabled: boolean;
  readonly description: string;
  readonly adapter: string;
  readonly effect: string;
  readonly idempotency: string;
  readonly inputSchema: Json;
}

/**
 * Declares a tool. The same declaration again changes nothing; another one raises the version, and calls that were
 * decided for the old one are decided again. @throws BulkheadError BAD_INPUT with the field that is wrong.
 */
export async function putTool(
  db: TenantDb,
  id: string,
  spec: Json,
): Promise<{ readonly version: number; readonly changed: boolean }> {
  const toolId = parseToolId(id);
  const wanted = checkedSpec(spec);
  const { tenantId } = db;
  const where = { tenantId_id: { tenantId, id: toolId } };
  return db.change(async (tx) => {
    const row = await tx.tool.findUnique({ where });
    if (row && canonicalJson(row.spec as Json) === canonicalJson(wanted as Json)) {
      return { version: row.version, changed: false };
    }
    const version = (row?.version ?? 0) + 1;
    const data = { spec: wanted as object, version, updatedAt: new Date() };
    await tx.tool.upsert({ where, create: { tenantId, id: toolId, ...data }, update: data });
    await record(tx, tenantId, { change: 'tool_declared', toolId, version });
    return { version, changed: true };
  });
}

/** Switches a tool on or off; off holds from the commit on. @throws BulkheadError NOT_FOUND */
export async function setToolEnabled(db: TenantDb, id: ToolId, enabled: boolean): Promise<void> {
  const { tenantId } = db;
  await db.change(async (tx) => {
    const { count } = await tx.tool.updateMany({ where: { id }, data: { enabled, updatedAt: new Date() } });
    if (count === 0) throw new BulkheadError('NOT_FOUND', { field: 'id' });
    await record(tx, tenantId, { change: enabled ? 'tool_enabled' : 'tool_disabled', toolId: id });
  });
}

/** The tenant's tools by id; at most 500. */
export async function listTools(db: TenantDb): Promise<readonly ToolInfo[]> {
  const rows = await db.run((tx) => tx.tool.findMany({ orderBy: { id: 'asc' }, take: 500 }));
  return rows.map((row) => {
    const { description, adapter, effect, idempotency, inputSchema } = ToolSpecSchema.parse(row.spec);
    return {
      id: row.id as ToolId,
      version: row.version,
      enabled: row.enabled,
      description,
      adapter,
      effect,
      idempotency,
      inputSchema: inputSchema as Json,
    };
  });
}

function checkedSpec(spec: Json): ToolSpec {
  const parsed = ToolSpecSchema.safeParse(spec);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw badSpec(issue?.path.join('.') || 'spec', issue?.message ?? 'not valid');
  }
  const { inputSchema } = parsed.data;
  if (inputSchema['type'] !== 'object' || inputSchema['additionalProperties'] !== false) {
    throw badSpec('inputSchema', 'must be an object schema with additionalProperties: false');
  }
  const schemas = [inputSchema, 'outputSchema' in parsed.data ? parsed.data.outputSchema : undefined];
  for (const schema of schemas) {
    if (!schema) continue;
    const problem = schemaProblem(schema);
    if (problem !== undefined)
      throw badSpec(schema === inputSchema ? 'inputSchema' : 'outputSchema', problem);
    compileSchema(schema);
  }
  if (parsed.data.adapter === 'http' && parsed.data.url !== undefined)
    checkTemplate(parsed.data.url, inputSchema);
  return parsed.data;
}

/** Compiles one schema, strictly and on its own: an `$id` must not answer for its namesake of another tenant. */
export function compileSchema(schema: Record<string, unknown>) {
  try {
    return new Ajv2020({ strict: true, allErrors: false, ownProperties: true }).compile(schema);
  } catch (cause) {
    throw new BulkheadError('BAD_INPUT', {
      field: 'inputSchema',
      publicMessage: 'The schema is not valid JSON Schema (draft 2020-12).',
      cause,
    });
  }
}

/** Places stand in the path only: an argument in host, login or port would choose where the credential goes. */
function checkTemplate(template: string, inputSchema: Record<string, unknown>): void {
  const url = URL.parse(template.replaceAll(/\{[^{}]+\}/g, 'x'));
  const origin = /^https?:\/\/([^/?#]*)/.exec(template)?.[1] ?? '{';
  if (
    !url ||
    url.username !== '' ||
    url.password !== '' ||
    url.hash !== '' ||
    /[{}]/.test(origin + url.search)
  ) {
    throw badSpec('url', 'must be an absolute http or https URL with {places} in its path only');
  }
  if (/[{}]/.test(template.split('?')[1] ?? '')) throw badSpec('url', 'may have {places} in its path only');
  // whatever the parser makes of slashes and tabs: no place may reach the host
  const other = URL.parse(template.replaceAll(/\{[^{}]+\}/g, 'y'));
  if (other?.origin !== url.origin) throw badSpec('url', 'may have {places} in its path only');
  const required: unknown = inputSchema['required'];
  const names = [...template.matchAll(/\{([^{}]+)\}/g)].map((match) => match[1] ?? '');
  for (const name of names) {
    if (!Array.isArray(required) || !required.includes(name)) {
      throw badSpec('url', `place {${name}} is not a required argument`);
    }
  }
}

const badSpec = (field: string, message: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field, publicMessage: `${field}: ${message}` });

async function record(
  tx: TenantClient,
  tenantId: string,
  body: Record<string, string | number>,
): Promise<void> {
  await tx.journalRecord.create({ data: { tenantId, kind: 'control', body } });
}
