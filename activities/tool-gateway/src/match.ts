import { performance } from 'node:perf_hooks';
import type { ValidateFunction } from 'ajv/dist/2020.js';
import { depthExceeds, TenantCache } from '@bulkhead/contract';
import type { Json, Reason, TenantId, ToolId } from '@bulkhead/contract';
import { ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { ToolSpec } from '@bulkhead/contract/schemas';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import { resolveDestination } from './destination.js';
import type { Destination } from './destination.js';
import { publicText } from './public-text.js';
import { holdOf } from './hold.js';
import type { Hold } from './hold.js';
import { compileSchema } from './spec-check.js';

/** A call that is one: a tool that exists and is on, arguments that fit, a destination that is known. */
export interface MatchedCall {
  readonly kind: 'matched';
  readonly toolId: ToolId;
  readonly version: number;
  readonly spec: ToolSpec;
  readonly args: { readonly [name: string]: Json };
  readonly destination: Destination;
  /** undefined: the tool declares no schema for its answer. */
  readonly answerFits: ((value: Json) => boolean) | undefined;
  /** What a host wrote down about the tool itself; may be over. */
  readonly hold: Hold | undefined;
}
type Match = MatchedCall | { readonly kind: 'invalid'; readonly reason: Reason };

export interface Matcher {
  /** `fresh` skips what is remembered, after admit said that the tool moved. */
  match(
    tenantId: TenantId,
    toolId: ToolId,
    args: Json,
    options?: { readonly fresh: boolean },
  ): Promise<Match>;
}

interface Tool {
  readonly version: number;
  readonly spec: ToolSpec;
  readonly validate: ValidateFunction;
  readonly validateAnswer: ValidateFunction | undefined;
  readonly hold: Hold | undefined;
}

/** admit compares the tool's version under its lock: remembering costs a second try and never a wrong admission. */
const TOOL_MS = 1_000;
const TOOLS_MAX = 5_000;
const ARGS_DEPTH_MAX = 64;

export function createMatcher(deps: {
  readonly door: Pick<TenantDoor, 'tenant'>;
  readonly nowMs?: () => number;
}): Matcher {
  const nowMs = deps.nowMs ?? (() => performance.now());
  const cache = new TenantCache<Tool | undefined>({ max: TOOLS_MAX, freshMs: TOOL_MS, nowMs });

  const toolOf = async (tenantId: TenantId, toolId: ToolId, fresh: boolean): Promise<Tool | undefined> => {
    const known = cache.get(tenantId, [toolId]);
    if (known?.fresh && !fresh) return known.value;
    const tool = await load(deps.door, tenantId, toolId, known?.value);
    cache.set(tenantId, [toolId], tool);
    return tool;
  };

  return {
    async match(tenantId, toolId, args, options) {
      const tool = await toolOf(tenantId, toolId, options?.fresh ?? false);
      if (!tool) return invalid('toolId', `There is no tool ${toolId}, or it is switched off.`);
      const { spec, version, validate, validateAnswer, hold } = tool;
      if (depthExceeds(args, ARGS_DEPTH_MAX)) return invalid('args', 'The arguments are nested too deeply.');
      if (Buffer.byteLength(JSON.stringify(args)) > spec.argsBytesMax) {
        return invalid('args', `The arguments are larger than ${spec.argsBytesMax} bytes.`);
      }
      if (!validate(args)) return problemOf(validate);
      const parsed = args as { readonly [name: string]: Json };
      const destination = resolveDestination(spec, parsed);
      if ('field' in destination) return invalid(`args.${destination.field}`, destination.message);
      const answerFits = validateAnswer && ((value: Json) => validateAnswer(value));
      return { kind: 'matched', toolId, version, spec, args: parsed, destination, answerFits, hold };
    },
  };
}

/** One round trip, asked once a second for each tool at work; the declaration is sent only when it is another version. */
const TOOL = {
  name: 'tool_declaration',
  text: `SELECT version, enabled, held_until AS "heldUntil", held, CASE WHEN version <> $3 THEN spec END AS spec
    FROM tools WHERE tenant_id = $1 AND id = $2`,
};
/** No declaration has it. */
const NO_VERSION = -1;
interface ToolRow {
  readonly version: number;
  readonly enabled: boolean;
  readonly heldUntil: Date | null;
  readonly held: unknown;
  readonly spec: unknown;
}

async function load(
  door: Pick<TenantDoor, 'tenant'>,
  tenantId: TenantId,
  toolId: ToolId,
  known: Tool | undefined,
): Promise<Tool | undefined> {
  const [row] = await door
    .tenant(tenantId)
    .read<ToolRow>(TOOL, [tenantId, toolId, known?.version ?? NO_VERSION]);
  if (!row?.enabled) return undefined;
  const hold = holdOf(row);
  if (known?.version === row.version) return { ...known, hold };
  const spec = ToolSpecSchema.parse(row.spec);
  const outputSchema = spec.adapter === 'http' ? spec.outputSchema : undefined;
  return {
    version: row.version,
    spec,
    validate: compileSchema(spec.inputSchema),
    validateAnswer: outputSchema && compileSchema(outputSchema),
    hold,
  };
}

function problemOf(validate: ValidateFunction): Match {
  const problem = validate.errors?.[0];
  const names: unknown[] = [problem?.params['missingProperty'], problem?.params['additionalProperty']];
  const name = names.find((candidate) => typeof candidate === 'string');
  const path = (problem?.instancePath ?? '').split('/').slice(1);
  const field = ['args', ...path.map(unescapePointer), ...(name === undefined ? [] : [name])].join('.');
  return invalid(field, `${field} ${problem?.message ?? 'does not fit the schema of the tool'}`);
}

const unescapePointer = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~');

/** Names of arguments are the caller's text. */
const invalid = (field: string, message: string): Match => ({
  kind: 'invalid',
  reason: { message: publicText(message), field: publicText(field) },
});
