import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { canonicalJson, isStorable, toolId as asToolId } from '@bulkhead/contract';
import type { Json, ToolId } from '@bulkhead/contract';
import { ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { McpTool, ToolSpec } from '@bulkhead/contract/schemas';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import type { ToolOffer } from './adapters/adapter.js';
import { asOffer, shortened } from './adapters/mcp-pin.js';
import type { ListedTool } from './adapters/mcp-pin.js';
import { closed } from './approve.js';
import { publicText } from './public-text.js';
import { keepVersion, record, TOOLS_MAX } from './registry.js';
import type { ChangedBy } from './registry.js';
import { checkedSpec } from './spec-check.js';

/** One tool of an import. */
export type ImportChange = {
  /** As the server calls it. */
  readonly name: string;
  /** What it is called here; absent when it cannot be called. */
  readonly toolId?: string;
  readonly change: 'new' | 'same' | 'changed' | 'gone' | 'left_out';
  /** Why it was left out. */
  readonly message?: string;
  /** Of a changed one: what was approved, and what is offered now. */
  readonly before?: Told;
  readonly after?: Told;
};
type Told = { readonly description: string; readonly inputSchema: Json };

/** Tools that one import looks at: a person has to read what it brings. */
const IMPORT_MAX = 200;
/** What an import tells of changes; beyond it, the tool's own `offer` has the text. */
const TOLD_BYTES_MAX = 262_144;
const IMPORTED = 'Imported, and off until an admin says what it does and switches it on.';

/** How long new schemas may be compiled; with the 20 s of listing and the 15 s of a transaction, less than an order is held. */
export const CHECK_MS = 10_000;

/** What an import is for, and how it ends. */
export interface Importing {
  readonly system: string;
  readonly server: McpTool['server'];
  /** What it was listed with, and what its tools are called with; undefined: none. */
  readonly credential?: McpTool['credential'];
  readonly by: ChangedBy;
  /** Milliseconds for compiling what is new; what they do not suffice for is left to another import. */
  readonly checkMs: number;
  /** In the transaction that changes the tools, after the last of them. */
  readonly end: (tx: TenantClient, changes: readonly ImportChange[]) => Promise<void>;
}

/**
 * Takes over what a server lists, in one transaction. What is new becomes a tool that is off, irreversible, never
 * repeated, and pinned to what was listed: nothing that the server says of itself is believed. What is here already is
 * never declared anew and never switched on; where the server offers something else than was approved, it is switched
 * off and the offer kept beside it.
 */
export async function importListed(
  db: TenantDb,
  { system, server, credential, by, checkMs, end }: Importing,
  listed: readonly ListedTool[],
): Promise<void> {
  const offers = offersOf(system, listed);
  // before the tenant's lock: no call of the tenant begins while it is held, and it is not held for long
  const specs = await specsOf(db, { server, credential }, offers, checkMs);
  await db.change(async (tx) => {
    const rows = await tx.tool.findMany({ take: TOOLS_MAX });
    let room = TOOLS_MAX - rows.length;
    const changes: ImportChange[] = [];
    for (const { name, toolId, offer, problem } of offers) {
      const leave = (message: string): void =>
        void changes.push({ name: publicText(name), change: 'left_out', message });
      if (toolId === undefined || problem !== undefined) {
        leave(problem ?? 'It has no name that a tool can have here.');
        continue;
      }
      const row = rows.find(({ id }) => id === toolId);
      if (row) {
        const known = sameTool(row.spec, server, name);
        if (!known) leave(`There is another tool ${toolId}.`);
        else changes.push(await compare(tx, db, { ...row, name, toolId }, known, offer, by));
        continue;
      }
      const spec = specs.get(toolId) ?? TOO_LONG;
      if (typeof spec === 'string' || room === 0) {
        leave(typeof spec === 'string' ? spec : `A tenant has at most ${TOOLS_MAX} tools.`);
        continue;
      }
      room -= 1;
      await keepVersion(tx, db.tenantId, toolId, 1, spec, by);
      await tx.tool.updateMany({ where: { id: toolId }, data: { enabled: false, disabledReason: IMPORTED } });
      changes.push({ name, toolId, change: 'new' });
    }
    const names = new Set(listed.map(({ name }) => name));
    for (const { id, spec } of rows) {
      const known = sameTool(spec, server, undefined);
      if (known && !names.has(known.tool)) changes.push({ name: known.tool, toolId: id, change: 'gone' });
    }
    await end(tx, bounded(changes));
  });
}

const TOO_LONG = 'The schemas of this list take too long to check; another import takes over the next ones.';

/** What is new, checked: at least one, then as many as there is time for; every one in a turn of its own. */
async function specsOf(
  db: TenantDb,
  from: Pick<Importing, 'server' | 'credential'>,
  offers: readonly NamedOffer[],
  checkMs: number,
): Promise<ReadonlyMap<ToolId, ToolSpec | string>> {
  const rows = await db.run((tx) => tx.tool.findMany({ select: { id: true }, take: TOOLS_MAX }));
  const here = new Set(rows.map(({ id }) => id));
  const specs = new Map<ToolId, ToolSpec | string>();
  const until = performance.now() + checkMs;
  for (const { name, toolId, offer, problem } of offers) {
    if (toolId === undefined || problem !== undefined || here.has(toolId)) continue;
    if (specs.size > 0 && performance.now() >= until) break;
    specs.set(toolId, specOf(from, name, offer));
    await nextTurn();
  }
  return specs;
}

interface NamedOffer {
  readonly name: string;
  readonly toolId: ToolId | undefined;
  readonly offer: ToolOffer;
  readonly problem: string | undefined;
}

/** By name. A name that is listed twice, and two names that would be one tool here, are nobody's. */
function offersOf(system: string, listed: readonly ListedTool[]): readonly NamedOffer[] {
  const names = [...new Set(listed.map(({ name }) => name))].sort().slice(0, IMPORT_MAX);
  const ids = names.map((name) => idOf(system, name));
  return names.map((name, i): NamedOffer => {
    const found = listed.filter((tool) => tool.name === name);
    const toolId = ids[i];
    const base = { name, toolId };
    if (!isStorable(JSON.stringify(found)))
      return { ...base, offer: NOTHING, problem: 'Its text is not valid Unicode.' };
    const offer = shortened(asOffer(found));
    const isShared = ids.filter((id) => id !== undefined && id === toolId).length > 1;
    const problem = isShared
      ? `Two of its names would be ${toolId} here.`
      : offer.pin === null
        ? 'It is listed twice, or is larger than a person could read.'
        : undefined;
    return { ...base, offer, problem };
  });
}

const NOTHING: ToolOffer = { pin: null, description: '', inputSchema: {} };

/** `createEntity` is `<system>.create_entity`; undefined: no tool can be called so. */
function idOf(system: string, name: string): ToolId | undefined {
  const words = name.replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase();
  try {
    return asToolId(`${system}.${words.replaceAll(/[^a-z0-9_-]+/g, '_')}`);
  } catch {
    return undefined;
  }
}

/** The declaration, when it is of that server, and of that tool of it if one is named. */
function sameTool(stored: unknown, server: McpTool['server'], name: string | undefined): McpTool | undefined {
  const spec = ToolSpecSchema.parse(stored);
  if (spec.adapter !== 'mcp' || canonicalJson(spec.server) !== canonicalJson(server)) return undefined;
  return name === undefined || spec.tool === name ? spec : undefined;
}

/** As nobody has looked at it yet. A text says why it cannot be one. */
function specOf(
  { server, credential }: Pick<Importing, 'server' | 'credential'>,
  name: string,
  { pin, description, inputSchema }: ToolOffer,
): ToolSpec | string {
  try {
    return checkedSpec({
      adapter: 'mcp',
      server,
      tool: name,
      pin,
      description: description || name,
      inputSchema: closed(inputSchema as object),
      effect: 'irreversible',
      idempotency: 'none',
      ...(credential ? { credential } : {}),
    });
  } catch (error) {
    if (error instanceof Error && 'publicMessage' in error) return publicText(String(error.publicMessage));
    throw error;
  }
}

async function compare(
  tx: TenantClient,
  { tenantId }: TenantDb,
  row: { readonly name: string; readonly toolId: ToolId; readonly enabled: boolean },
  known: McpTool,
  offer: ToolOffer,
  by: ChangedBy,
): Promise<ImportChange> {
  const { name, toolId } = row;
  // a child of our own that the operator configured needs no pin
  const isOurs = known.pin === undefined && 'stdio' in known.server;
  if (isOurs || known.pin === offer.pin) return { name, toolId, change: 'same' };
  const reason = 'The MCP server offers another description or schema than was approved.';
  await tx.tool.updateMany({
    where: { id: toolId },
    data: {
      enabled: false,
      disabledReason: reason,
      offer: offer as unknown as object,
      updatedAt: new Date(),
    },
  });
  if (row.enabled) await record(tx, tenantId, { change: 'tool_disabled', toolId, by: by.actor, reason });
  const told = ({ description, inputSchema }: { description: string; inputSchema: unknown }): Told => ({
    description,
    inputSchema: inputSchema as Json,
  });
  return { name, toolId, change: 'changed', before: told(known), after: told(offer) };
}

/** What would be too much to show is left to the tools themselves. */
function bounded(changes: readonly ImportChange[]): readonly ImportChange[] {
  let left = TOLD_BYTES_MAX;
  return changes.map((each) => {
    left -= Buffer.byteLength(JSON.stringify(each));
    if (left >= 0 || each.change !== 'changed') return each;
    const { before: _, after: __, ...rest } = each;
    return { ...rest, message: 'See the offer of the tool.' };
  });
}
