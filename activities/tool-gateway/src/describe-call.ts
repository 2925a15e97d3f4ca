import { BulkheadError } from '@bulkhead/contract';
import type { Json, ToolId } from '@bulkhead/contract';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { createMatcher } from './match.js';
import type { MatchedCall } from './match.js';

/** What policy would be told of a call of this tool, apart from who makes it. */
export interface DescribedCall {
  readonly tool: ToolId;
  readonly system: string;
  readonly effect: 'read' | 'write' | 'irreversible';
  readonly destination: { readonly host: string; readonly port?: number; readonly path: string };
  readonly args: { readonly [name: string]: Json };
  readonly dataClasses: readonly string[];
  readonly model?: string;
}

export function describeMatched({ toolId, spec, args, destination }: MatchedCall): DescribedCall {
  const { effect, dataClasses } = spec;
  return {
    tool: toolId,
    system: systemOf(toolId),
    effect,
    dataClasses,
    destination: destination.fact,
    args,
    ...(spec.adapter === 'model' ? { model: spec.model } : {}),
  };
}

export const systemOf = (toolId: string): string => toolId.split('.')[0] ?? toolId;

/**
 * Parses a hypothetical call as a real one is parsed. @throws BulkheadError NOT_FOUND when there is no such tool or it is
 * off; BAD_INPUT with the argument that is wrong.
 */
export async function describeCall(db: TenantDb, toolId: ToolId, args: Json): Promise<DescribedCall> {
  const matcher = createMatcher({ door: { tenant: () => db } });
  const matched = await matcher.match(db.tenantId, toolId, args, { fresh: true });
  if (matched.kind === 'invalid') {
    const { field, message } = matched.reason;
    if (field === 'toolId') throw new BulkheadError('NOT_FOUND', { field });
    throw new BulkheadError('BAD_INPUT', {
      publicMessage: message,
      ...(field === undefined ? {} : { field }),
    });
  }
  return describeMatched(matched);
}
