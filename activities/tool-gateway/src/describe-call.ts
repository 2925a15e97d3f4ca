import { BulkheadError } from '@bulkhead/contract';
import type { Json, ToolId } from '@bulkhead/contract';
import { ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { ToolSpec } from '@bulkhead/contract/schemas';
import type { TenantDb } from '@bulkhead/prisma/tenant';
import { openDestination } from './destination.js';
import type { OpenDestination } from './destination.js';
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
  return { ...describeSpec(toolId, spec), destination: destination.fact, args };
}

function describeSpec(tool: ToolId, spec: ToolSpec): Omit<DescribedCall, 'args' | 'destination'> {
  const { effect, dataClasses } = spec;
  const model = spec.adapter === 'model' ? { model: spec.model } : {};
  return { tool, system: systemOf(tool), effect, dataClasses, ...model };
}

/** What policy would be told of every call of a tool, whatever its arguments, apart from who makes it. */
export type DescribedTool = Omit<DescribedCall, 'args' | 'destination'> & {
  /** undefined: an argument chooses it. */
  readonly destination: OpenDestination | undefined;
  /** undefined: any. */
  readonly argumentNames: readonly string[] | undefined;
};

/** @param declared a tool's stored declaration */
export const describeTool = (tool: ToolId, declared: Json): DescribedTool =>
  describeSpecOpenly(tool, ToolSpecSchema.parse(declared));

/** As `describeTool`, of a declaration that is parsed already. */
export function describeSpecOpenly(tool: ToolId, spec: ToolSpec): DescribedTool {
  return {
    ...describeSpec(tool, spec),
    destination: openDestination(spec),
    argumentNames: argumentNames(spec.inputSchema),
  };
}

/** With `additionalProperties: false` at the top, which every declaration has, there are only those that are named. */
function argumentNames(schema: Record<string, unknown>): readonly string[] | undefined {
  if ('patternProperties' in schema) return undefined;
  return Object.keys((schema['properties'] as object | undefined) ?? {});
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
