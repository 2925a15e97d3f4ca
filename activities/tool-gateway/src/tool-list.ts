import { z } from 'zod';
import { BulkheadError, RUN_STATES } from '@bulkhead/contract';
import type {
  Envelope,
  Json,
  ListedTool,
  ToolId,
  ToolList,
  ToolListAnswer,
  ToolListRequest,
} from '@bulkhead/contract';
import type { Reach } from '@bulkhead/contract/policy';
import { ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { ToolSpec } from '@bulkhead/contract/schemas';
import type { Policy } from '@bulkhead/policy/line';
import type { TenantDb, TenantDoor } from '@bulkhead/prisma/tenant';
import { describeSpecOpenly } from './describe-call.js';

/** A list stands in the history of its run, and a history ends at 50 MB: so does what one list may hold. */
const TOOLS_MAX = 64;
const LIST_BYTES_MAX = 131_072;
const SCHEMA_BYTES_MAX = 16_384;
const DESCRIPTION_MAX = 1_000;
/** Declarations read at once; each may have 128 KiB. */
const PAGE = 32;

export interface ToolListDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  readonly policy: Pick<Policy, 'reach'>;
}
export type ToolLister = (envelope: Envelope, request: ToolListRequest) => Promise<ToolListAnswer>;

/** What workflow code asks; it is an author's, so it is looked at. */
const Request = z.strictObject({
  system: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,63}$/)
    .optional(),
  after: z.string().max(200).optional(),
});
const Page = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('tools'),
    tools: z.array(z.strictObject({ id: z.string(), spec: z.json() })),
  }),
  z.strictObject({ kind: z.literal('parked'), state: z.enum(RUN_STATES), note: z.string().nullable() }),
  z.strictObject({ kind: z.literal('run_ended') }),
]);

/**
 * The tools that a run's agent may call, judged before there is a call by the policy in force and the evaluator of real
 * calls. A tool that is off, stopped, or whose calls are all denied is not in it; a run whose calls are all parked is
 * parked here too. It permits nothing: each call is judged by admit.
 * @throws BulkheadError POLICY_UNAVAILABLE, BAD_INPUT for a question that is none, EFFECT_HELD for a run that has ended
 */
export function createToolList({ door, policy }: ToolListDeps): ToolLister {
  return async (envelope, request) => {
    const asked = Request.safeParse(request);
    if (!asked.success) throw new BulkheadError('BAD_INPUT', { internal: 'not a question for tools' });
    const { tenantId, agentId: agent, workspaceId: workspace, policyProfile } = envelope;
    const { system } = asked.data;
    const list = new List({ runId: envelope.runId, ...asked.data });
    for (let after = asked.data.after; ;) {
      const page = await readPage(door.tenant(tenantId), envelope, system, after);
      if (page.kind === 'parked') {
        const message = page.note ?? `The tenant is ${page.state}.`;
        return { kind: 'parked', state: page.state, reason: { message, layer: 'control' } };
      }
      // after the tools: a version that is published meanwhile narrows what was read, and none of them is judged by an older one
      const reach = await policy.reach(tenantId, policyProfile);
      for (const { id, spec } of page.tools) {
        const tool = ToolSpecSchema.parse(spec);
        const standing = standingOf(reach({ ...describeSpecOpenly(id as ToolId, tool), agent, workspace }));
        if (standing !== undefined && !list.take(listed(id as ToolId, tool, standing)))
          return list.cut(after);
        after = id;
      }
      if (page.tools.length < PAGE) return list.whole();
    }
  };
}

async function readPage(
  db: TenantDb,
  { runId, agentId }: Envelope,
  system: string | undefined,
  after: string | undefined,
): Promise<Exclude<z.infer<typeof Page>, { kind: 'run_ended' }>> {
  const page = Page.parse(await db.call('run_tools', { runId, agentId, system, after, first: PAGE }));
  if (page.kind === 'run_ended')
    throw new BulkheadError('EFFECT_HELD', { internal: `run ${runId} has ended` });
  return page;
}

/** undefined: no call of it is allowed. */
function standingOf({ allowed, asks }: Reach): ListedTool['standing'] | undefined {
  if (allowed === 'never') return undefined;
  if (asks === 'always') return 'needsApproval';
  return allowed === 'always' && asks === 'never' ? 'allowed' : 'conditional';
}

/** As much as a history is to hold. */
class List {
  private readonly tools: ListedTool[] = [];
  private bytes = 0;

  constructor(private readonly of: ToolList['of']) {}

  /** Whether there was room. */
  take(tool: ListedTool): boolean {
    const bytes = Buffer.byteLength(JSON.stringify(tool));
    if (this.tools.length >= TOOLS_MAX || this.bytes + bytes > LIST_BYTES_MAX) return false;
    this.tools.push(tool);
    this.bytes += bytes;
    return true;
  }
  whole(): ToolList {
    return { kind: 'tools', tools: this.tools, of: this.of };
  }
  /** @param next the last tool that was looked at */
  cut(next: string | undefined): ToolList {
    return { ...this.whole(), ...(next === undefined ? {} : { next }) };
  }
}

function listed(id: ToolId, spec: ToolSpec, standing: ListedTool['standing']): ListedTool {
  const schema = JSON.stringify(spec.inputSchema, (key, value: unknown) =>
    typeof value === 'string' && SAID.has(key) ? visible(value) : value,
  );
  return {
    id,
    description: visible(spec.description).slice(0, DESCRIPTION_MAX).toWellFormed(),
    effect: spec.effect,
    standing,
    ...(Buffer.byteLength(schema) > SCHEMA_BYTES_MAX ? {} : { inputSchema: JSON.parse(schema) as Json }),
  };
}

/** Texts of a schema that only tell; the others decide what an argument may be. */
const SAID = new Set(['description', 'title', '$comment']);

/** What no person sees when they approve a description must not be read to a model either. */
const visible = (text: string): string => text.replaceAll(/[\p{Cc}\p{Cf}\p{Co}\p{DI}]/gu, ' ');
