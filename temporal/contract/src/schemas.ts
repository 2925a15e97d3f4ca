import { z } from 'zod';
import { tenantId, workspaceId, agentId, toolId, parseRunId } from './ids.js';
import type { AgentId, RunId, TenantId, ToolId, WorkspaceId } from './ids.js';
import type { Envelope } from './envelope.js';

export { schemaProblem } from './json-schema.js';

/** zod mirrors of the contract, for the edges: what comes from a database column, a header, a person or a tool. */

function accepts(parse: (text: unknown) => unknown): (text: unknown) => boolean {
  return (text) => {
    try {
      return parse(text) !== undefined;
    } catch {
      return false;
    }
  };
}

export const TenantIdSchema = z.custom<TenantId>(accepts(tenantId), 'not a tenant id');
export const WorkspaceIdSchema = z.custom<WorkspaceId>(accepts(workspaceId), 'not a workspace id');
export const AgentIdSchema = z.custom<AgentId>(accepts(agentId), 'not an agent id');
export const ToolIdSchema = z.custom<ToolId>(accepts(toolId), 'not a tool id');
export const RunIdSchema = z.custom<RunId>(accepts(parseRunId), 'not a run id');

export const EnvelopeSchema = z.strictObject({
  v: z.literal(1),
  tenantId: TenantIdSchema,
  workspaceId: WorkspaceIdSchema,
  agentId: AgentIdSchema,
  runId: RunIdSchema,
  policyProfile: z.string().min(1).max(63),
  quotaClass: z.string().min(1).max(63),
  actor: z.string().min(1).max(200),
  issuedAt: z.int().positive(),
}) satisfies z.ZodType<Envelope>;

/**
 * What HTTP, MCP and we ourselves say with a header. Some decide where a request ends or when it leaves: Node writes one
 * with `expect` as soon as it is connected, before anybody was asked whether it may still go.
 */
const OWN_HEADERS: ReadonlySet<string> = new Set(
  `accept connection content-encoding content-length content-type date expect forwarded host idempotency-key keep-alive
  last-event-id mcp-protocol-version mcp-session-id proxy-connection te trailer transfer-encoding upgrade user-agent via`.split(
    /\s+/,
  ),
);

/** Where a credential goes: one header of the tool's own host, e.g. `authorization` with prefix `Bearer `. */
const CredentialSlot = z.strictObject({
  header: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,63}$/)
    .refine((name) => !OWN_HEADERS.has(name), 'is a header of the request itself'),
  prefix: z.string().max(32).default(''),
});

const Credential = z.strictObject({
  /** Name of the tenant's secret. */
  secret: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/),
  slot: CredentialSlot,
});

const JsonSchema = z.record(z.string(), z.unknown());

/** A class of data that a tenant names in policy, e.g. `customer-email`. */
const DataClass = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/);

/** Dotted, through objects only. */
const Path = z.string().regex(/^[^.]{1,63}(\.[^.]{1,63}){0,7}$/);

/** Where an argument of the compensating call comes from: a constant, or a dotted path into arguments or answer. */
const CompensationArgument = z.union([
  z.strictObject({ value: z.union([z.string().max(1000), z.number(), z.boolean()]) }),
  z.strictObject({
    from: z.enum(['args', 'answer']),
    path: Path,
  }),
]);
const Compensation = z.strictObject({
  /** The tool that undoes what this one did; must exist when this one is declared. */
  tool: z.string().min(3).max(128),
  args: z
    .record(z.string().min(1).max(63), CompensationArgument)
    .refine((args) => Object.keys(args).length <= 32, 'at most 32 arguments'),
});

const toolBase = {
  description: z.string().min(1).max(2000),
  /** JSON Schema (draft 2020-12) of the arguments; `additionalProperties: false` at the top is required. */
  inputSchema: JsonSchema,
  effect: z.enum(['read', 'write', 'irreversible']),
  /** keyed: honours our idempotency key; natural: repeating changes nothing; none: never repeated. */
  idempotency: z.enum(['keyed', 'natural', 'none']),
  timeoutMs: z.int().min(100).max(300_000).default(30_000),
  /** Answers above this are refused as tool_failed. */
  answerBytesMax: z.int().min(1).max(262_144).default(65_536),
  /** Arguments above this are refused as invalid_input; canonical JSON, in bytes. */
  argsBytesMax: z.int().min(2).max(131_072).default(131_072),
  /** What one call costs, in millionths of the currency in which the tenant counts. */
  costMicros: z.int().min(0).max(1_000_000_000_000).default(0),
  /** Where the answer says what the call really cost, in millionths; else `costMicros` is what it cost. */
  costReportedAt: Path.optional(),
  /** Classes of data that its answers hold: whoever calls it has read them. */
  dataClasses: z.array(DataClass).max(16).default([]),
  /** Slow or costly: runs on the tenant's second queue, where it holds up nothing else. */
  expensive: z.boolean().default(false),
  /** How to undo it; only for what has an effect that can be undone. */
  compensation: Compensation.optional(),
  credential: Credential.optional(),
};

export const HttpToolSpec = z
  .strictObject({
    ...toolBase,
    adapter: z.literal('http'),
    method: z.enum(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
    /** Absolute URL; `{name}` is replaced by the percent-encoded argument, in the path only. */
    url: z.string().max(2000).optional(),
    /** Name of the argument that holds the destination instead; such a tool has no credential. */
    urlArgument: z.string().max(63).optional(),
    outputSchema: JsonSchema.optional(),
  })
  .refine((tool) => (tool.url === undefined) !== (tool.urlArgument === undefined), 'give url or urlArgument')
  .refine((tool) => tool.urlArgument === undefined || tool.credential === undefined, {
    message: 'a tool whose destination comes from an argument may not carry a credential',
    path: ['credential'],
  });

export const McpToolSpec = z.strictObject({
  ...toolBase,
  adapter: z.literal('mcp'),
  /** A stdio server named in the host configuration, or the URL of a streamable HTTP server. */
  server: z.union([
    z.strictObject({ stdio: z.string().regex(/^[a-z][a-z0-9-]{0,62}$/) }),
    z.strictObject({ url: z.url({ protocol: /^https?$/ }) }),
  ]),
  tool: z.string().min(1).max(128),
  /** SHA-256 of name, description and schemas as approved; the server that lists something else is not called. */
  pin: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});

export const ModelToolSpec = z.strictObject({
  ...toolBase,
  adapter: z.literal('model'),
  /** Base URL of an OpenAI-compatible API, e.g. `https://host/v1`. */
  baseUrl: z.url({ protocol: /^https?$/ }),
  model: z.string().min(1).max(128),
});

/** A tool as a tenant's admin declares it. */
export const ToolSpecSchema = z.discriminatedUnion('adapter', [HttpToolSpec, McpToolSpec, ModelToolSpec]);
export type ToolSpec = z.infer<typeof ToolSpecSchema>;
export type HttpTool = z.infer<typeof HttpToolSpec>;
export type McpTool = z.infer<typeof McpToolSpec>;
export type ModelTool = z.infer<typeof ModelToolSpec>;
