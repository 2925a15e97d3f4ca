import type { Json } from '@bulkhead/contract';
import type { ToolSpec } from '@bulkhead/contract/schemas';

type Compensation = NonNullable<ToolSpec['compensation']>;

/** The call that undoes another one: kept with the effect, sealed, until somebody orders it. */
export interface Undo {
  readonly tool: string;
  readonly args: { readonly [name: string]: Json };
}

/** What is kept of a call in its effects row, its answer and its undo each; JSON, in bytes. */
export const KEPT_BYTES_MAX = 262_144;

/**
 * undefined: the answer lacks what the declaration takes from it, or it would be above 256 KiB, so nothing is known that
 * would undo the call.
 */
export function undoOf(
  { tool, args }: Compensation,
  call: { readonly args: Json; readonly answer: Json },
): Undo | undefined {
  const found: [string, Json][] = [];
  let bytes = 0;
  for (const [name, from] of Object.entries(args)) {
    const value = 'value' in from ? from.value : valueAt(call[from.from], from.path);
    if (value === undefined) return undefined;
    // one by one: a declaration may take the same large part many times, and all of it as one text fills the host
    bytes += Buffer.byteLength(JSON.stringify([name, value]), 'utf8');
    if (bytes > KEPT_BYTES_MAX) return undefined;
    found.push([name, value]);
  }
  return { tool, args: Object.fromEntries(found) };
}

/** Why the arguments of the undoing call would not be what its tool takes; undefined: they would. */
export function mappingProblem(
  { tool, args }: Compensation,
  { inputSchema }: Pick<ToolSpec, 'inputSchema'>,
): { readonly field: string; readonly message: string } | undefined {
  const known: unknown = inputSchema['properties'];
  const unknown = Object.keys(args).find(
    (name) => typeof known !== 'object' || known === null || !Object.hasOwn(known, name),
  );
  if (unknown !== undefined && !('patternProperties' in inputSchema)) {
    return { field: `compensation.args.${unknown}`, message: `${tool} has no argument ${unknown}` };
  }
  const required: unknown = inputSchema['required'];
  const missing = (Array.isArray(required) ? required.map(String) : []).find(
    (name) => !Object.hasOwn(args, name),
  );
  return missing === undefined
    ? undefined
    : { field: 'compensation.args', message: `${tool} needs ${missing}` };
}

/** What the answer says that the call cost, in millionths; undefined: it says nothing that could be booked. */
export function reportedCost({ costReportedAt }: ToolSpec, answer: Json): number | undefined {
  const value = costReportedAt === undefined ? undefined : valueAt(answer, costReportedAt);
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= COST_MAX
    ? value
    : undefined;
}

/** One answer must not be able to use up a counter for ever. */
const COST_MAX = 1_000_000_000_000;

/** Through own properties of plain objects only. */
function valueAt(from: Json, path: string): Json | undefined {
  let at: Json | undefined = from;
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, name))
      return undefined;
    at = (at as { readonly [name: string]: Json })[name];
  }
  return at;
}
