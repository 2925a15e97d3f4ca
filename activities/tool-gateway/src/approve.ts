import { BulkheadError, toolId as asToolId } from '@bulkhead/contract';
import type { Json } from '@bulkhead/contract';
import { ToolSpecSchema } from '@bulkhead/contract/schemas';
import { Prisma } from '@bulkhead/prisma/tenant';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { keepVersion, notFound, record } from './registry.js';
import type { ChangedBy } from './registry.js';
import { checkedSpec } from './spec-check.js';

/**
 * Takes what an MCP server offers now as what is approved: its description, its schema, its pin. `pin` is that of the
 * offer the person has seen: one that changed again meanwhile is not approved by it. The tool is on afterwards.
 * @throws BulkheadError NOT_FOUND; INVALID_STATE when nothing, or something else, is offered; BAD_INPUT when the
 *   offered schema is none that arguments can be checked with.
 */
export async function approveOffer(
  db: TenantDb,
  id: string,
  pin: string,
  by: ChangedBy,
): Promise<{ readonly version: number }> {
  const { tenantId } = db;
  return db.change(async (tx) => {
    const row = await tx.tool.findUnique({ where: { tenantId_id: { tenantId, id } } });
    if (!row) throw notFound();
    const offer = row.offer as { readonly pin?: unknown; description: string; inputSchema: object } | null;
    if (!offer || offer.pin !== pin) {
      throw new BulkheadError('INVALID_STATE', {
        field: 'pin',
        publicMessage: 'pin: this is not what the server offers now',
      });
    }
    const spec = ToolSpecSchema.parse(row.spec);
    const approved = checkedSpec({
      ...(spec as { [name: string]: Json }),
      pin,
      description: offer.description || spec.description,
      inputSchema: closed(offer.inputSchema),
    });
    const version = row.version + 1;
    await keepVersion(tx, tenantId, asToolId(id), version, approved, by);
    await tx.tool.update({
      where: { tenantId_id: { tenantId, id } },
      data: { enabled: true, disabledReason: null, offer: Prisma.DbNull },
    });
    await record(tx, tenantId, {
      change: 'tool_approved',
      toolId: id,
      version,
      pin,
      by: by.actor,
      reason: by.reason,
    });
    return { version };
  });
}

/** Arguments beyond the declared ones are not passed on; a dialect of the schema that we do not read is not claimed. */
export function closed(schema: object): Json {
  const { $schema: _, ...rest } = schema as { readonly [name: string]: Json };
  return { ...rest, additionalProperties: false };
}
