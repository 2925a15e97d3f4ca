import type { Json } from './canonical-json.js';
import type { AgentId, ToolId, WorkspaceId } from './ids.js';

/** Everything a rule can look at: typed and parsed, made by the gateway, never by the caller. */
export interface PolicyFacts {
  readonly tool: ToolId;
  /** First part of the tool id. */
  readonly system: string;
  readonly effect: 'read' | 'write' | 'irreversible';
  /** Classes of data that the tool's answers hold, as its declaration says. */
  readonly dataClasses: readonly string[];
  readonly destination: {
    /** Host name in lower case, without port and without a closing dot; `mcp:<server>` for a local server. */
    readonly host: string;
    readonly port?: number;
    readonly path: string;
  };
  readonly args: Json;
  readonly agent: AgentId;
  readonly workspace: WorkspaceId;
  readonly actor: string;
}

type Scalar = string | number | boolean;

/**
 * The scalar at a dotted path, through own properties of plain objects only. Arrays are not walked and not returned:
 * "any element matches" would let a caller satisfy a rule with one element and act on another.
 */
export function factAt(facts: PolicyFacts, path: string): Scalar | undefined {
  let at: unknown = facts;
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, name))
      return undefined;
    at = Reflect.get(at, name);
  }
  if (typeof at === 'number' && !Number.isFinite(at)) return undefined;
  return typeof at === 'string' || typeof at === 'number' || typeof at === 'boolean' ? at : undefined;
}
