import { BulkheadError, CHANNELS, toolId as asToolId } from '@bulkhead/contract';
import type { ImportId, Json } from '@bulkhead/contract';
import { McpToolSpec } from '@bulkhead/contract/schemas';
import type { McpTool } from '@bulkhead/contract/schemas';
import type { TenantClient, TenantDb } from '@bulkhead/prisma/tenant';
import type { ImportLeases, LeaseRefusal } from '@bulkhead/secret-broker/line';
import { CredentialRefused } from './adapters/mcp-list.js';
import type { ListCredential, McpLister } from './adapters/mcp-list.js';
import type { ListedTool } from './adapters/mcp-pin.js';
import { CHECK_MS, importListed } from './import.js';
import type { ImportChange } from './import.js';
import { publicText } from './public-text.js';
import { record } from './registry.js';
import { badSpec } from './spec-check.js';

/** An order to take over what an MCP server offers, and what came of it. */
export interface McpImport {
  readonly id: string;
  readonly system: string;
  readonly server: Json;
  /** Which secret and which header it was listed with; never a value. */
  readonly credential: Json | undefined;
  /** asked: no host has taken it yet. taken. done. failed: nothing was changed. */
  readonly state: string;
  readonly actor: string;
  readonly reason: string;
  readonly askedAt: Date;
  readonly endedAt: Date | undefined;
  readonly message: string | undefined;
  readonly changes: readonly ImportChange[] | undefined;
}

/** What a host carries an import out with. */
export interface ImportPorts {
  readonly list: McpLister;
  readonly lease: ImportLeases;
}

/** Orders of a tenant that may wait at once, and how long one waits for a host. */
const WAITING_MAX = 5;
const WAIT_MS = 300_000;
/** Longer than listing, checking and changing may take: a host that died with an order is not waited for. */
const TAKEN_MS = 60_000;

/**
 * Orders an import. A host carries it out within seconds.
 * @throws BulkheadError BAD_INPUT with the field; INVALID_STATE when too many orders wait.
 */
export async function orderImport(
  db: TenantDb,
  order: {
    readonly id: ImportId;
    readonly system: string;
    readonly server: Json;
    /** Which secret, and the header that it goes into; for servers on the network. */
    readonly credential?: Json | undefined;
    readonly actor: string;
    readonly reason: string;
  },
): Promise<McpImport> {
  const { tenantId } = db;
  const { id, system, actor, reason } = order;
  const server = checkedServer(order.server);
  const credential = checkedCredential(order.credential, server);
  if (system.includes('.') || !isToolId(`${system}.x`))
    throw badSpec('system', 'is the first part of the ids of tools: a-z, 0-9, - and _');
  const row = await db.run(async (tx) => {
    const waiting = { state: 'asked', askedAt: { gt: new Date(Date.now() - WAIT_MS) } };
    if ((await tx.mcpImport.count({ where: waiting })) >= WAITING_MAX) {
      throw new BulkheadError('INVALID_STATE', { publicMessage: `${WAITING_MAX} imports wait already.` });
    }
    const made = await tx.mcpImport.create({
      data: { tenantId, id, system, server, actor, reason, ...(credential ? { credential } : {}) },
    });
    await record(tx, tenantId, {
      change: 'mcp_import_ordered',
      import: id,
      system,
      by: actor,
      reason,
      ...(credential ? { secret: credential.secret } : {}),
    });
    await tx.$executeRaw`SELECT pg_notify(${CHANNELS.control}, ${tenantId})`;
    return made;
  });
  return view(row);
}

/** Newest first, at most 50. */
export async function listImports(db: TenantDb): Promise<readonly McpImport[]> {
  const rows = await db.run((tx) => tx.mcpImport.findMany({ orderBy: { askedAt: 'desc' }, take: 50 }));
  return rows.map(view);
}

/**
 * Carries out the orders of one tenant that wait for a host.
 * @param checkMs how long the new schemas of one import may be compiled
 * @throws BulkheadError DATABASE_UNAVAILABLE; the order it stood at ends as failed a minute after it was taken
 */
export async function carryOutImports(db: TenantDb, ports: ImportPorts, checkMs = CHECK_MS): Promise<void> {
  if ((await db.read(WAITING, [db.tenantId])).length === 0) return;
  for (let order = await take(db); order; order = await take(db)) {
    const { id, system, actor, reason } = order;
    const end = async (tx: TenantClient, data: object): Promise<void> => {
      const where = { id, state: 'taken' };
      const { count } = await tx.mcpImport.updateMany({ where, data: { ...data, endedAt: new Date() } });
      // with the changes in one transaction: what is said to have failed has changed nothing
      if (count === 0) throw new BulkheadError('INVALID_STATE', { internal: `import ${id} has ended` });
    };
    const server = checkedServer(order.server as Json);
    const credential = checkedCredential((order.credential as Json | null) ?? undefined, server);
    const listed = await listFor(db, ports, id, server, credential);
    if ('refused' in listed) {
      await db.run((tx) => end(tx, { state: 'failed', message: publicText(listed.refused) }));
      continue;
    }
    const importing = {
      system,
      server,
      credential,
      by: { actor, reason },
      checkMs,
      end: (tx: TenantClient, changes: object) => end(tx, { state: 'done', changes }),
    };
    await importListed(db, importing, listed.tools);
  }
}

const UNLISTED = 'The server could not be reached, or does not list its tools as it should.';

/** What the server lists, with its credential for exactly as long as that takes. */
async function listFor(
  { tenantId }: TenantDb,
  { list, lease }: ImportPorts,
  id: string,
  server: McpTool['server'],
  credential: McpTool['credential'],
): Promise<{ readonly tools: readonly ListedTool[] } | LeaseRefusal> {
  // whatever it says of itself, nobody has approved it; what it says when it fails may hold anything
  const asked = (shown?: ListCredential) =>
    list(tenantId, server, shown).then(
      (tools) => ({ tools }),
      (error: unknown) => ({ refused: error instanceof CredentialRefused ? error.message : UNLISTED }),
    );
  if (credential === undefined) return asked();
  try {
    return await lease(tenantId, id, (leased) => asked({ credential, lease: leased }));
  } catch (error) {
    if (!isCredentialFault(error)) throw error;
    return { refused: 'The credential cannot be opened. Nothing was sent.' };
  }
}

/** Also while the key is away: whoever ordered it is told, and orders it again. */
const UNOPENED: readonly string[] = ['SECRET_UNAVAILABLE', 'KEY_UNAVAILABLE', 'KEY_DESTROYED'];
const isCredentialFault = (error: unknown): boolean =>
  error instanceof BulkheadError && UNOPENED.includes(error.code);

/** Asked for each tenant every few seconds: where nothing waits, nothing is locked or written. */
const WAITING = {
  name: 'mcp_import_waiting',
  text: `SELECT id FROM mcp_imports WHERE tenant_id = $1 AND (state = 'taken' OR (state = 'asked'
    AND asked_at > now() - make_interval(secs => ${WAIT_MS / 1000}))) LIMIT 1`,
};

interface Taken {
  readonly id: string;
  readonly system: string;
  readonly server: unknown;
  readonly credential: unknown;
  readonly actor: string;
  readonly reason: string;
}

/**
 * One order, for this host alone. One whose host did not come back has failed: whatever made that host fail would make
 * the next one fail, and again, for as long as there are hosts.
 */
async function take(db: TenantDb): Promise<Taken | undefined> {
  const rows = await db.run(async (tx) => {
    await tx.$executeRaw`
      UPDATE mcp_imports SET state = 'failed', ended_at = now(), message = ${UNFINISHED}
       WHERE tenant_id = ${db.tenantId} AND state = 'taken'
         AND taken_at < now() - make_interval(secs => ${TAKEN_MS / 1000}::float8)`;
    return tx.$queryRaw<Taken[]>`
      UPDATE mcp_imports SET state = 'taken', taken_at = now()
       WHERE tenant_id = ${db.tenantId} AND id = (
         SELECT id FROM mcp_imports WHERE tenant_id = ${db.tenantId}
            AND state = 'asked' AND asked_at > now() - make_interval(secs => ${WAIT_MS / 1000}::float8)
          ORDER BY asked_at LIMIT 1 FOR UPDATE SKIP LOCKED)
      RETURNING id, system, server, credential, actor, reason`;
  });
  return rows[0];
}

const UNFINISHED = 'A host took it and did not finish it.';

function checkedServer(server: Json): McpTool['server'] {
  const parsed = McpToolSpec.shape.server.safeParse(server);
  if (!parsed.success) throw badSpec('server', 'give { "url": ... } or { "stdio": ... }');
  return parsed.data;
}

/** @throws BulkheadError BAD_INPUT with the field */
function checkedCredential(
  given: Json | undefined,
  server: McpTool['server'],
): NonNullable<McpTool['credential']> | undefined {
  if (given === undefined || given === null) return undefined;
  if ('stdio' in server) throw badSpec('credential', 'a local server is shown none');
  const parsed = McpToolSpec.shape.credential.safeParse(given);
  if (!parsed.success || !parsed.data)
    throw badSpec('credential', 'give { "secret": ..., "slot": { "header": ..., "prefix": ... } }');
  return parsed.data;
}

function isToolId(text: string): boolean {
  try {
    return asToolId(text) === text;
  } catch {
    return false;
  }
}

function view({
  id,
  system,
  server,
  credential,
  state,
  actor,
  reason,
  askedAt,
  endedAt,
  message,
  changes,
}: Omit<McpImport, 'server' | 'credential' | 'endedAt' | 'message' | 'changes'> & {
  readonly server: unknown;
  readonly credential: unknown;
  readonly endedAt: Date | null;
  readonly message: string | null;
  readonly changes: unknown;
}): McpImport {
  const expired = state === 'asked' && Date.now() - askedAt.getTime() > WAIT_MS;
  return {
    id,
    system,
    server: server as Json,
    credential: (credential as Json | null) ?? undefined,
    state: expired ? 'failed' : state,
    actor,
    reason,
    askedAt,
    endedAt: endedAt ?? undefined,
    message: expired ? 'No host took it in time.' : (message ?? undefined),
    changes: (changes as readonly ImportChange[] | null) ?? undefined,
  };
}
