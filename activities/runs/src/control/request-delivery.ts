import { z } from 'zod';
import { sealedPayloadOf } from '@bulkhead/contract';
import type { TenantId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { RunControlInTemporal, RunRef } from './temporal-port.js';
import { NotStartedYet } from './not-started.js';

/** The kinds of the outbox that carry out what a person asked of a run. */
export const REQUEST_KINDS = ['cancel', 'terminate', 'signal', 'reset'] as const;
export type RequestKind = (typeof REQUEST_KINDS)[number];

const FIND = `
  SELECT kind, detail, done_at IS NOT NULL AS done FROM run_requests WHERE tenant_id = $1 AND id = $2 AND run_id = $3`;

const DONE = `
  WITH done AS (
    UPDATE run_requests SET done_at = now(), failure = $3, temporal_run_id = $4
     WHERE tenant_id = $1 AND id = $2 AND done_at IS NULL RETURNING *
  ), record AS (
    INSERT INTO journal_records (tenant_id, kind, run_id, body)
    SELECT tenant_id, 'control', run_id, jsonb_build_object('change', 'run_' || kind,
           'state', CASE WHEN failure IS NULL THEN 'done' ELSE 'failed' END, 'request', id::text, 'failure', failure) FROM done
  )
  SELECT pg_notify('bulkhead_runs', json_build_array(json_build_object('tenantId', tenant_id, 'runId', run_id))::text) FROM done`;

const dropSignals = z.boolean().default(false);
const ResetSchema = z.discriminatedUnion('to', [
  z.object({ to: z.enum(['first', 'last']), dropSignals }),
  z.object({ to: z.literal('event'), eventId: z.int().positive(), dropSignals }),
]);

const SignalSchema = z.object({ name: z.string(), args: z.array(z.unknown()).max(1) });

interface RequestRow {
  readonly kind: string;
  readonly detail: unknown;
  readonly done: boolean;
}

/** How a request ended: `failure` is a sentence for whoever asked. */
interface Done {
  readonly failure?: string;
  readonly temporalRunId?: string;
}

const ENDED = 'The run had already ended.';

export interface RequestDelivery {
  /** Carries the request out and records how it ended. @throws when Temporal is away, or the run is not there yet. */
  deliver(run: RunRef, requestId: string, kind: RequestKind, finished: boolean): Promise<void>;
}

/** Carries out what people asked of runs. Asking Temporal twice does no harm: it knows a request by its id. */
export function createRequestDelivery(deps: {
  readonly control: Pick<ControlDb, 'query'>;
  readonly temporal: RunControlInTemporal;
}): RequestDelivery {
  const { control, temporal } = deps;

  const act = async (run: RunRef, id: string, kind: RequestKind, detail: unknown): Promise<Done | 'gone'> => {
    const requestId = `bulkhead-request-${run.tenantId}-${id}`;
    switch (kind) {
      case 'cancel':
      case 'terminate': {
        const answer = await temporal[kind](run, requestId);
        return answer === 'gone' ? 'gone' : {};
      }
      case 'signal': {
        const { name, args } = SignalSchema.parse(detail);
        const sealed = args.map((value) => {
          const payload = sealedPayloadOf(run.tenantId, value);
          if (!payload) throw new TypeError('the argument of a signal is not sealed for its tenant');
          return payload;
        });
        const answer = await temporal.signalOnce(run, requestId, name, sealed);
        return answer === 'gone' ? 'gone' : {};
      }
      case 'reset': {
        const answer = await temporal.reset(run, requestId, ResetSchema.parse(detail));
        return answer.kind === 'refused'
          ? { failure: answer.message }
          : { temporalRunId: answer.temporalRunId };
      }
    }
  };

  const find = async (tenantId: TenantId, id: string, run: RunRef): Promise<RequestRow> => {
    const [row] = await control.query<RequestRow>(FIND, [tenantId, id, run.runId]);
    if (!row) throw new TypeError('an outbox entry names a request that is not there');
    return row;
  };

  return {
    async deliver(run, id, kind, finished) {
      const row = await find(run.tenantId, id, run);
      if (row.done) return;
      if (row.kind !== kind) throw new TypeError('an outbox entry names a request of another kind');
      let done = await act(run, id, kind, row.detail);
      // it may not be started yet, or its end may not be known yet
      if (done === 'gone' && !finished) throw new NotStartedYet();
      if (done === 'gone') done = { failure: ENDED };
      await control.query(DONE, [run.tenantId, id, done.failure ?? null, done.temporalRunId ?? null]);
    },
  };
}
