import { Inject, Injectable } from '@nestjs/common';
import type { z } from 'zod';
import { BulkheadError, depthExceeds, parseRunId, placementOf } from '@bulkhead/contract';
import type { AgentStart, Json, RunId, RunState, TenantId } from '@bulkhead/contract';
import { findRun, listRuns } from '@bulkhead/runs/admin';
import type { Page, Run } from '@bulkhead/runs/admin';
import { ContentReads } from '../audit/content-reads.js';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { JournalEntry as JournalEntryView } from '@bulkhead/journal/admin';
import type { ApiDeps } from '../deps.js';
import type { StartRun } from './run.input.js';

/** A result nested more deeply would break whoever prints it. */
const RESULT_DEPTH_MAX = 200;

@Injectable()
export class RunService {
  constructor(
    @Inject(API_DEPS)
    private readonly deps: Pick<ApiDeps, 'door' | 'acceptRun' | 'journal' | 'payloads' | 'settings'>,
    @Inject(ContentReads) private readonly reads: Pick<ContentReads, 'note'>,
  ) {}

  /** Commits the run and answers with it; the control process starts it. */
  async start(principal: Principal, input: z.infer<typeof StartRun>): Promise<Run> {
    const db = this.deps.door.tenant(principal.tenantId);
    const { runId } = await this.deps
      .acceptRun(db, { ...input, actor: principal.actor, workspaces: principal.workspaces('run:start') })
      .catch(underInput);
    // whoever may start it may know that it is; what more its fields show is asked for by each of them
    const run = await findRun(db, runId);
    if (!run) throw new BulkheadError('INTERNAL', { internal: 'an accepted run is not there' });
    return run;
  }

  /** @throws BulkheadError NOT_FOUND, the same for foreign, unknown and malformed ids and other workspaces. */
  async get(principal: Principal, id: string): Promise<Run> {
    const run = await findRun(this.deps.door.tenant(principal.tenantId), id);
    if (!run || !principal.covers('run:read', run)) throw new BulkheadError('NOT_FOUND', { field: 'id' });
    return run;
  }

  list(
    principal: Principal,
    page: { first: number; after: string | undefined; state: RunState | undefined },
  ): Promise<Page<Run>> {
    const workspaces = principal.workspaces('run:read');
    return listRuns(this.deps.door.tenant(principal.tenantId), { ...page, workspaces });
  }

  /** What the run was started with, opened; null once it is removed. */
  async input(principal: Principal, run: Run): Promise<Json> {
    if (run.start === null) return null;
    await this.reads.note(principal, { runId: run.id, what: 'input' });
    const start = (await this.deps.payloads.open(principal.tenantId, run.start)) as Pick<AgentStart, 'input'>;
    return start.input;
  }

  /** The result, opened; null while there is none. */
  async result(principal: Principal, run: Run): Promise<Json> {
    if (run.result === null) return null;
    await this.reads.note(principal, { runId: run.id, what: 'result' });
    const result = await this.deps.payloads.open(principal.tenantId, run.result);
    return depthExceeds(result, RESULT_DEPTH_MAX)
      ? { note: 'The result is nested too deeply to be shown here.' }
      : result;
  }

  journal(tenantId: TenantId, runId: RunId): Promise<readonly JournalEntryView[]> {
    return this.deps.journal.list(this.deps.door.tenant(tenantId), runId);
  }

  /** Where the run's history is shown; undefined when no Temporal UI is set up. */
  temporalUrl(id: string): string | undefined {
    const tenantId = parseRunId(id)?.tenantId;
    if (this.deps.settings.uiAddress === undefined || tenantId === undefined) return undefined;
    const { namespace } = placementOf(tenantId);
    return `${this.deps.settings.publicUrl}/temporal/namespaces/${namespace}/workflows/${encodeURIComponent(id)}`;
  }
}

/** acceptRun names its own fields; in GraphQL they are parts of the argument `input`. */
function underInput(error: unknown): never {
  if (!(error instanceof BulkheadError) || error.field === undefined) throw error;
  throw new BulkheadError(error.code, {
    publicMessage: error.publicMessage,
    internal: error.message,
    field: `input.${error.field}`,
    cause: error.cause,
  });
}
