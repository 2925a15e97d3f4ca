import { TenantCache } from '@bulkhead/contract';
import type { Reason, TenantId, ToolId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import type { Ending, ToolOffer } from './adapters/adapter.js';
import { shortened } from './adapters/mcp-pin.js';
import type { Hold } from './hold.js';
import type { MatchedCall } from './match.js';
import { record } from './registry.js';

export interface ToolState {
  /**
   * Why this call may not be sent now; undefined: it may. After a breaker's time is over one call of this host goes
   * first, and the others wait for how it ends.
   */
  refusal(tenantId: TenantId, matched: MatchedCall): Reason | undefined;
  /**
   * What an ending says about the tool itself. undefined when there is nothing to write, which is nearly always.
   * @throws BulkheadError DATABASE_UNAVAILABLE
   */
  note(tenantId: TenantId, matched: MatchedCall, ending: Ending): Promise<void> | undefined;
}

/** Failures in a row, seen by one host, that open the breaker. */
const DOWNS_MAX = 5;
const OPEN_MS_MIN = 10_000;
const OPEN_MS_MAX = 300_000;
/** Where a provider names no time, and how long it may name: a mistake of its own must not stop a tenant for days. */
const COOLDOWN_MS_DEFAULT = 5_000;
const COOLDOWN_MS_MAX = 3_600_000;
const TOOLS_MAX = 5_000;

/** What this host knows of one tool by itself; the row tells what the others know. */
interface Seen {
  readonly downs: number;
  readonly openMs: number;
  readonly hold: Hold | undefined;
  /** Until when the call that tries whether the tool is back may take. */
  readonly probeUntilMs: number;
}
const NOTHING_SEEN: Seen = { downs: 0, openMs: 0, hold: undefined, probeUntilMs: 0 };

/** Breakers and cooldowns per tenant and tool. The row carries them, so another host obeys as soon as it reads the tool. */
export function createToolState(deps: {
  readonly door: Pick<TenantDoor, 'tenant'>;
  /** Milliseconds of the epoch. */
  readonly nowMs?: () => number;
}): ToolState {
  const nowMs = deps.nowMs ?? Date.now;
  const cache = new TenantCache<Seen>({ max: TOOLS_MAX, freshMs: Number.MAX_SAFE_INTEGER, nowMs });
  const seenOf = (tenantId: TenantId, { toolId, version }: MatchedCall): Seen =>
    cache.get(tenantId, [toolId, version])?.value ?? NOTHING_SEEN;
  const keep = (tenantId: TenantId, { toolId, version }: MatchedCall, seen: Seen): void =>
    cache.set(tenantId, [toolId, version], seen);

  const hold = (tenantId: TenantId, matched: MatchedCall, held: Hold, openMs: number): Promise<void> => {
    keep(tenantId, matched, { ...NOTHING_SEEN, openMs, hold: held });
    return writeHold(deps.door, tenantId, matched, held);
  };

  return {
    refusal(tenantId, matched) {
      const seen = seenOf(tenantId, matched);
      const held = later(matched.hold, seen.hold);
      if (!held) return undefined;
      if (held.untilMs > nowMs()) return reasonOf(held);
      if (held.kind === 'provider_cooldown') return undefined;
      if (seen.probeUntilMs > nowMs()) return reasonOf({ ...held, untilMs: seen.probeUntilMs });
      keep(tenantId, matched, { ...seen, probeUntilMs: nowMs() + matched.spec.timeoutMs });
      return undefined;
    },

    note(tenantId, matched, ending) {
      const seen = seenOf(tenantId, matched);
      if (ending.kind === 'not_sent' && ending.offer !== undefined) {
        return quarantine(deps.door, tenantId, matched, ending.offer);
      }
      const asked = cooldownOf(ending);
      if (asked !== undefined) {
        const untilMs = nowMs() + asked;
        const message = `The tool asked for a pause of ${Math.ceil(asked / 1000)} s.`;
        return hold(tenantId, matched, { kind: 'provider_cooldown', message, untilMs }, seen.openMs);
      }
      const state = stateOf(ending);
      if (state === 'unsaid') {
        if (seen.probeUntilMs > 0) keep(tenantId, matched, { ...seen, probeUntilMs: 0 });
        return undefined;
      }
      if (state === 'up') {
        const wasHeld = matched.hold ?? seen.hold;
        if (seen !== NOTHING_SEEN) keep(tenantId, matched, NOTHING_SEEN);
        return wasHeld === undefined ? undefined : clearHold(deps.door, tenantId, matched);
      }
      const downs = seen.downs + 1;
      const isProbe = seen.probeUntilMs > 0;
      if (downs < DOWNS_MAX && !isProbe) {
        keep(tenantId, matched, { ...seen, downs });
        return undefined;
      }
      const openMs = Math.min(Math.max(OPEN_MS_MIN, seen.openMs * 2), OPEN_MS_MAX);
      const message = 'The tool did not answer several times in a row; it is tried again later.';
      return hold(tenantId, matched, { kind: 'circuit_open', message, untilMs: nowMs() + openMs }, openMs);
    },
  };
}

const later = (a: Hold | undefined, b: Hold | undefined): Hold | undefined =>
  a && b ? (a.untilMs >= b.untilMs ? a : b) : (a ?? b);

const reasonOf = ({ message, kind, untilMs }: Hold): Reason => ({
  message,
  layer: kind,
  resetsAt: new Date(untilMs).toISOString(),
});

/** The pause that the tool itself asked for, in milliseconds. */
function cooldownOf(ending: Ending): number | undefined {
  if (ending.kind !== 'answered' || ending.outcome !== 'provider_unavailable' || !ending.asksForPause) {
    return undefined;
  }
  return Math.min(Math.max(1, ending.retryAfterMs ?? COOLDOWN_MS_DEFAULT), COOLDOWN_MS_MAX);
}

/** Whether the tool is there: what it refuses, it answers. Our own reasons not to send say nothing about it. */
function stateOf(ending: Ending): 'up' | 'down' | 'unsaid' {
  switch (ending.kind) {
    case 'answered':
      return ending.outcome === 'provider_unavailable' ? 'down' : 'up';
    case 'unknown':
      return 'down';
    case 'not_sent':
      return ending.refusal === 'unreachable' ? 'down' : 'unsaid';
  }
}

async function writeHold(
  door: Pick<TenantDoor, 'tenant'>,
  tenantId: TenantId,
  { toolId, version }: MatchedCall,
  { kind, message, untilMs }: Hold,
): Promise<void> {
  const heldUntil = new Date(untilMs);
  await door.tenant(tenantId).run(async (tx) => {
    // the longest pause counts, whoever heard of it; a newer declaration starts without one
    const { count } = await tx.tool.updateMany({
      where: { id: toolId, version, OR: [{ heldUntil: null }, { heldUntil: { lt: heldUntil } }] },
      data: { heldUntil, held: { kind, message } },
    });
    if (count === 0) return;
    await record(tx, tenantId, { change: 'tool_held', toolId, state: kind, until: heldUntil.toISOString() });
  });
}

async function clearHold(
  door: Pick<TenantDoor, 'tenant'>,
  tenantId: TenantId,
  { toolId, version, hold }: MatchedCall,
): Promise<void> {
  // only the hold that this call knew of: a longer one may have come meanwhile
  const until = new Date(Math.max(hold?.untilMs ?? 0, Date.now()));
  await door.tenant(tenantId).run(async (tx) => {
    const where = { id: toolId, version, heldUntil: { lte: until } };
    const { count } = await tx.tool.updateMany({ where, data: { heldUntil: null } });
    if (count > 0) await record(tx, tenantId, { change: 'tool_back', toolId });
  });
}

/** The server offers something else than was approved: off until a person has looked at it. */
async function quarantine(
  door: Pick<TenantDoor, 'tenant'>,
  tenantId: TenantId,
  { toolId, version }: MatchedCall,
  offer: ToolOffer,
): Promise<void> {
  const disabledReason =
    offer.pin === null
      ? 'The MCP server does not offer this tool any more.'
      : 'The MCP server offers another description or schema than was approved.';
  await door.tenant(tenantId).change(async (tx) => {
    const { count } = await tx.tool.updateMany({
      where: { id: toolId as ToolId, version, enabled: true },
      data: {
        enabled: false,
        disabledReason,
        offer: shortened(offer) as unknown as object,
        updatedAt: new Date(),
      },
    });
    if (count === 0) return;
    await record(tx, tenantId, { change: 'tool_disabled', toolId, by: 'platform', reason: disabledReason });
  });
}
