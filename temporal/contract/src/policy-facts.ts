import type { Json } from './canonical-json.js';
import type { AgentId, RunId, ToolId, WorkspaceId } from './ids.js';

/** What the gateway knows about a call: typed and parsed, made by the gateway, never by the caller. */
export interface CallFacts {
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
  readonly runId: RunId;
  /** The model that the tool asks; only of model tools. */
  readonly model?: string;
}

/** Everything a rule can look at. */
export interface PolicyFacts extends CallFacts {
  readonly time: TimeFacts;
  readonly run: RunFacts;
}

/** UTC. */
export interface TimeFacts {
  /** 0 to 23 */
  readonly hour: number;
  /** Of the day, 0 to 1439. */
  readonly minute: number;
  readonly weekday: string;
  /** e.g. `2026-11-24` */
  readonly date: string;
}

/** What the run has done so far. Only what is closed counts: an effect under way has not happened yet. */
export interface RunFacts {
  /** Classes of data that the root run has read. */
  readonly read: readonly string[];
  /** Tools that have answered this run with `ok`, of those that a rule asks about. */
  readonly done: readonly string[];
}

export const NOTHING_YET: RunFacts = { read: [], done: [] };

const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];

export function timeFacts(at: Date): TimeFacts {
  const hour = at.getUTCHours();
  return {
    hour,
    minute: hour * 60 + at.getUTCMinutes(),
    weekday: WEEKDAYS[at.getUTCDay()] ?? '',
    date: at.toISOString().slice(0, 10),
  };
}

export type Scalar = string | number | boolean;

/** Facts about a set: whether a class or a tool is in it. Always there, so a rule may deny on what has not happened. */
const MEMBERSHIP: Readonly<Record<string, (facts: PolicyFacts) => readonly string[]>> = {
  data: (facts) => facts.dataClasses,
  'run.read': (facts) => facts.run.read,
  'run.done': (facts) => facts.run.done,
};
const MEMBER = /^(data|run\.read|run\.done)\.(.+)$/;

/** Elements of a list beyond which it cannot be read: a rule must not take longer the more a caller sends. */
const ELEMENTS_MAX = 1_000;

/** How to find a fact; made once per rule, used on each call. */
export interface FactReader {
  /** Of every element, for `args.to[]`. */
  readonly each: boolean;
  /** The scalar, undefined when there is none; for `each` the scalars, undefined unless all are and there is one. */
  read(facts: PolicyFacts): Scalar | readonly Scalar[] | undefined;
}

export function factReader(path: string): FactReader {
  const [, set = '', member = ''] = MEMBER.exec(path) ?? [];
  const members = MEMBERSHIP[set];
  if (members) return { each: false, read: (facts) => members(facts).includes(member) };
  const each = path.endsWith('[]');
  const names = (each ? path.slice(0, -2) : path).split('.');
  return each
    ? { each, read: (facts) => scalars(valueAt(facts, names)) }
    : { each, read: (facts) => scalar(valueAt(facts, names)) };
}

/**
 * The scalar at a dotted path, through own properties of plain objects only. Arrays are not walked and not returned:
 * "any element matches" would let a caller satisfy a rule with one element and act on another.
 */
function valueAt(facts: PolicyFacts, names: readonly string[]): unknown {
  let at: unknown = facts;
  for (const name of names) {
    if (typeof at !== 'object' || at === null || Array.isArray(at) || !Object.hasOwn(at, name))
      return undefined;
    at = Reflect.get(at, name);
  }
  return at;
}

function scalar(value: unknown): Scalar | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  return typeof value === 'string' || typeof value === 'boolean' ? value : undefined;
}

function scalars(value: unknown): readonly Scalar[] | undefined {
  if (!Array.isArray(value) || value.length === 0 || value.length > ELEMENTS_MAX) return undefined;
  const items = value.map(scalar).filter((item) => item !== undefined);
  return items.length === value.length ? items : undefined;
}
