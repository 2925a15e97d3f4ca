import { readFileSync, statSync } from 'node:fs';
import { z } from 'zod';
import { BulkheadError, LIFECYCLE_PLACE } from '@bulkhead/contract';

/**
 * What each process is told: one JSON file, readable by its owner only, named by BULKHEAD_CONFIG. Keys and passwords
 * stand in files, never in the environment or the argument list, where every process of the machine can read them.
 */

const path = z.string().min(1).max(4096);
const Database = z.strictObject({
  url: z.url({ protocol: /^postgres(ql)?$/ }),
  poolMax: z.int().min(1).max(500),
});
const temporal = {
  /** host:port of the frontend. */
  address: z.string().min(1).max(300),
  tls: z.boolean().optional(),
  /** Token of a server that is not ours: one for all tenants. */
  apiKeyFile: path.optional(),
  /** Control: `api/` and `hosts/<id>/` in it. API: its own folder. Host: the folder of all hosts' folders. The file names are also the host's list of tenants. */
  tokensDir: path.optional(),
  uiAddress: z.string().min(1).max(300).optional(),
  /** false allows a server that lets calls without a token in, with a warning at each start: for development only. */
  enforcesTokens: z.boolean(),
};
const hasToken = { message: 'give tokensDir or apiKeyFile', path: ['tokensDir'] };
const Temporal = z.strictObject(temporal).refine((it) => it.tokensDir ?? it.apiKeyFile, hasToken);
const Log = z.strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error']) });

/** A stdio MCP server that hosts may start. It is code on our machine, so it never comes from tenant data. */
const McpServer = z.strictObject({
  command: path,
  args: z.array(z.string().max(4096)).max(64),
  /** Environment variable that names the data file of the tenant's own child. */
  dataFileEnv: z
    .string()
    .regex(/^[A-Z][A-Z0-9_]*$/)
    .optional(),
});

/** Keys of an issuer that travel in the clear could be exchanged on the way; a machine's own loopback is no way. */
const protectedUrl = z
  .url({ protocol: /^https?$/ })
  .refine(
    (url) => /^https:/i.test(url) || /^http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(\/|$)/i.test(url),
  );
/** Whose tokens people may sign in with. */
const Issuer = z.strictObject({
  /** `iss` of its tokens, to the letter. */
  issuer: protectedUrl,
  /** `aud` of tokens that are meant for this installation. */
  audience: z.string().min(1).max(300),
  /** Where its public keys are; found through its discovery document unless given. */
  jwksUri: protectedUrl.optional(),
  algorithms: z
    .array(z.enum(['RS256', 'ES256', 'EdDSA']))
    .min(1)
    .default(['RS256', 'ES256', 'EdDSA']),
});
export const IssuersSchema = z
  .array(Issuer)
  .max(50)
  .refine((list) => new Set(list.map(({ issuer }) => issuer)).size === list.length);

/** Which of our own network tools may reach; entries are read by the tool gateway. */
export const EgressSchema = z.array(z.string().min(1).max(300)).max(200);

export const ApiConfigSchema = z.strictObject({
  role: z.literal('api'),
  database: Database.extend({ controlUrl: z.url({ protocol: /^postgres(ql)?$/ }) }),
  temporal: Temporal,
  keys: z.strictObject({ master: path, envelopeSigning: path }),
  api: z.strictObject({
    host: z.string().min(1),
    port: z.int().min(0).max(65_535),
    /** The query page under /graphiql, and whether the schema may be asked for: for development. */
    graphiql: z.boolean().default(false),
    introspection: z.boolean().default(false),
    /** JSON list of documents: when given, no other is answered. */
    documents: path.optional(),
    /** Seconds in which a request is answered, or told that it was not. */
    requestSeconds: z.int().min(1).max(300).default(10),
    /** Subscriptions, and websockets, that may be open at once. */
    subscriptionsPerTenant: z.int().min(1).max(10_000).default(100),
    subscriptionsPerCaller: z.int().min(1).max(10_000).default(50),
    /** Documents of one key or token that may be refused before its requests have to wait. */
    refusalsPerMinute: z.int().min(1).max(1_000_000).default(60),
    decodesPerMinute: z.int().min(1).max(1_000_000).default(300),
    publicUrl: z.url({ protocol: /^https?$/ }),
    issuers: IssuersSchema.default([]),
  }),
  log: Log,
});

export const HostConfigSchema = z.strictObject({
  role: z.literal('host'),
  database: Database,
  temporal: Temporal,
  keys: z.strictObject({ master: path, envelopePublic: path }),
  host: z.strictObject({
    /** Prefix of the host's id; the rest is random at each start, because a fenced id never returns. */
    id: z
      .string()
      .regex(/^[a-z0-9-]{1,40}$/)
      .optional(),
    bundlePath: path,
    dataDir: path,
    mcpServers: z.record(z.string().regex(/^[a-z][a-z0-9-]{0,62}$/), McpServer),
    /** Private places that tools may reach, `host:port` or a network; the host refuses to start with others. */
    egress: z.strictObject({ allow: EgressSchema }).default({ allow: [] }),
    /** Workflows kept in memory per tenant; with more at work at once, each step of a run replays its history (as 0 always does). */
    maxCachedWorkflows: z.int().min(0).max(10_000).default(100),
  }),
  log: Log,
});

export const ControlConfigSchema = z.strictObject({
  role: z.literal('control'),
  database: Database,
  temporal: z.strictObject({
    ...temporal,
    tokensDir: path,
    /** Life of a token; each is replaced when half of it is over. A host outlives a control process that is away by this. */
    tokenTtlSeconds: z.int().min(2).max(3_600).default(600),
  }),
  keys: z.strictObject({
    /** Root secret of the keys that sign Temporal tokens. */
    temporalSigning: path,
    /** The file from which the server reads their public halves; none for a server that is not ours. */
    temporalJwks: path.optional(),
    envelopeSigning: path,
  }),
  control: z.strictObject({
    /** Workflow code of tenants' lifecycles. */
    bundlePath: path,
    /** Folder for what is kept of tenants that leave. */
    exportsDir: path,
    /** Queue of the lifecycles: installations that share a Temporal server must not take each other's. */
    lifecycleQueue: z.string().min(1).max(200).default(LIFECYCLE_PLACE.taskQueue),
  }),
  log: Log,
});

export type ApiConfig = z.infer<typeof ApiConfigSchema>;
export type HostConfig = z.infer<typeof HostConfigSchema>;
export type ControlConfig = z.infer<typeof ControlConfigSchema>;
export type IssuerConfig = z.infer<typeof Issuer>;
export type TemporalConfig = HostConfig['temporal'];

/** @throws BulkheadError WORKER_MISCONFIGURED that names the file and the field, never a value. */
export const loadApiConfig = (file?: string): ApiConfig => load(ApiConfigSchema, file);
/** @throws BulkheadError WORKER_MISCONFIGURED that names the file and the field, never a value. */
export const loadHostConfig = (file?: string): HostConfig => load(HostConfigSchema, file);
/** @throws BulkheadError WORKER_MISCONFIGURED that names the file and the field, never a value. */
export const loadControlConfig = (file?: string): ControlConfig => load(ControlConfigSchema, file);

function load<Schema extends z.ZodType>(
  schema: Schema,
  file = process.env['BULKHEAD_CONFIG'],
): z.infer<Schema> {
  if (!file) throw misconfigured('BULKHEAD_CONFIG does not name a configuration file');
  const parsed = schema.safeParse(readPrivateJson(file));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  // zod's messages can quote what they refuse; paths and codes cannot hold a password
  throw misconfigured(`${file}: ${issue?.path.join('.') || 'the document'} is not valid (${issue?.code})`);
}

function readPrivateJson(file: string): unknown {
  let text: string;
  try {
    // the file holds database passwords: one that others can read is as bad as one that is missing
    if ((statSync(file).mode & 0o077) !== 0)
      throw misconfigured(`${file} is readable by others; make it mode 0600`);
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof BulkheadError) throw error;
    throw misconfigured(`${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    return JSON.parse(text);
  } catch {
    // the parser's own message quotes the text around the error, which may be a password
    throw misconfigured(`${file} is not JSON`);
  }
}

const misconfigured = (internal: string): BulkheadError =>
  new BulkheadError('WORKER_MISCONFIGURED', { internal });
