import type { Connection } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { Payload } from '@temporalio/common';
import { ENVELOPE_HEADER, placementOf } from '@bulkhead/contract';
import type { RunId, TenantId } from '@bulkhead/contract';
import type { RunControlInTemporal } from '@bulkhead/runs/control';
import { createCarrierCodec } from '@bulkhead/runtime/codec';

const REQUEST_MS_MAX = 5_000;
/** Pages of a history that are read to find a workflow task: together Temporal's own limit of 51,200 events. */
const PAGES_MAX = 60;
const PAGE_EVENTS = 1_000;
/** RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL */
const SIGNALS_EXCLUDED = 1;
/** gRPC codes of answers that will not change by asking again. */
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;
const REFUSALS: ReadonlyMap<unknown, string> = new Map([
  [INVALID_ARGUMENT, 'The run cannot start again from that event: it is not one of a workflow task.'],
  [NOT_FOUND, 'The history of the run is no longer there.'],
  [FAILED_PRECONDITION, 'The run cannot be reset to that point.'],
]);

type Service = Connection['workflowService'];
type HistoryEvent = NonNullable<
  NonNullable<Awaited<ReturnType<Service['getWorkflowExecutionHistory']>>['history']>['events']
>[number];
type EventId = NonNullable<HistoryEvent['eventId']>;

/** What the control process does to a run because a person asked, over its own connection. */
export function createRunControlInTemporal(connection: Connection): RunControlInTemporal {
  const service = connection.workflowService;
  const soon = <T>(work: () => Promise<T>): Promise<T> =>
    connection.withDeadline(Date.now() + REQUEST_MS_MAX, work);

  return {
    cancel: ({ tenantId, runId }, requestId) =>
      orGone(() =>
        soon(() =>
          service.requestCancelWorkflowExecution({ ...at(tenantId, runId), ...asked(requestId), requestId }),
        ),
      ),

    terminate: ({ tenantId, runId }, requestId) =>
      orGone(() =>
        soon(() => service.terminateWorkflowExecution({ ...at(tenantId, runId), ...asked(requestId) })),
      ),

    signalOnce: ({ tenantId, runId, envelope }, requestId, name, args) =>
      orGone(async () => {
        const payloads = await createCarrierCodec(tenantId).encode(args.map(toPayload));
        return soon(() =>
          service.signalWorkflowExecution({
            ...at(tenantId, runId),
            identity: 'bulkhead',
            requestId,
            signalName: name,
            input: { payloads },
            header: { fields: { [ENVELOPE_HEADER]: toPayload(envelope) } },
          }),
        );
      }),

    async reset({ tenantId, runId: workflowId }, requestId, point) {
      try {
        const chain = await chainOf(service, soon, tenantId, workflowId);
        if (!chain) return refused('The run has no history in Temporal.');
        const look = createReader(service, soon, tenantId, workflowId);
        // Temporal itself does not know a reset again; one that has moved on to another segment meanwhile may be made
        // twice, which repeats no effect: the journal answers
        const made = await look.resetBy(chain.current, requestId);
        if (made !== undefined) return { kind: 'reset', temporalRunId: made };
        const base = point.to === 'first' ? chain.first : chain.current;
        const eventId = point.to === 'event' ? point.eventId : await look.workflowTask(base, point.to);
        if (eventId === undefined) return refused('The run has no workflow task yet to start again from.');
        const { runId } = await soon(() =>
          service.resetWorkflowExecution({
            ...at(tenantId, workflowId, base),
            ...asked(requestId),
            workflowTaskFinishEventId: eventId as EventId,
            requestId,
            resetReapplyExcludeTypes: point.dropSignals ? [SIGNALS_EXCLUDED] : [],
          }),
        );
        return { kind: 'reset', temporalRunId: runId };
      } catch (error) {
        const refusal = REFUSALS.get(codeOf(error));
        if (refusal === undefined) throw error;
        return refused(refusal);
      }
    },
  };
}

type Soon = <T>(work: () => Promise<T>) => Promise<T>;

/** The first and the current execution of a run: its segments are a chain of executions under one workflow id. */
async function chainOf(
  service: Service,
  soon: Soon,
  tenantId: TenantId,
  workflowId: RunId,
): Promise<{ readonly first: string; readonly current: string } | undefined> {
  const { workflowExecutionInfo: info } = await soon(() =>
    service.describeWorkflowExecution({
      namespace: placementOf(tenantId).namespace,
      execution: { workflowId },
    }),
  );
  const current = info?.execution?.runId;
  return current ? { first: info.firstRunId || current, current } : undefined;
}

function createReader(service: Service, soon: Soon, tenantId: TenantId, workflowId: RunId) {
  async function* eventsOf(runId: string): AsyncGenerator<HistoryEvent> {
    let nextPageToken: Uint8Array | undefined;
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const answer = await soon(() =>
        service.getWorkflowExecutionHistory({
          namespace: placementOf(tenantId).namespace,
          execution: { workflowId, runId },
          maximumPageSize: PAGE_EVENTS,
          ...(nextPageToken === undefined ? {} : { nextPageToken }),
        }),
      );
      yield* answer.history?.events ?? [];
      nextPageToken = answer.nextPageToken;
      if (!nextPageToken?.length) return;
    }
  }
  return {
    /** The execution that this request opened, when the one given came from it. */
    async resetBy(runId: string, requestId: string): Promise<string | undefined> {
      for await (const { workflowTaskFailedEventAttributes: failed } of eventsOf(runId)) {
        if (failed?.failure?.message?.endsWith(markOf(requestId))) return failed.newRunId || runId;
      }
      return undefined;
    },
    /** The first or last workflow task that was completed. */
    async workflowTask(runId: string, which: 'first' | 'last'): Promise<EventId | undefined> {
      let found: EventId | undefined;
      for await (const event of eventsOf(runId)) {
        if (!event.workflowTaskCompletedEventAttributes || !event.eventId) continue;
        found = event.eventId;
        if (which === 'first') break;
      }
      return found;
    },
  };
}

/** Names us and the request in the history; a person's reason stays in our journal, for this text is not encrypted. */
const asked = (requestId: string) => ({ identity: 'bulkhead', reason: `Bulkhead ${markOf(requestId)}` });
const markOf = (requestId: string): string => `[${requestId}]`;

const at = (tenantId: TenantId, workflowId: string, runId?: string) => ({
  namespace: placementOf(tenantId).namespace,
  workflowExecution: { workflowId, ...(runId === undefined ? {} : { runId }) },
});

async function orGone(work: () => Promise<unknown>): Promise<'done' | 'gone'> {
  try {
    await work();
    return 'done';
  } catch (error) {
    if (codeOf(error) === NOT_FOUND) return 'gone';
    throw error;
  }
}

const toPayload = (value: unknown): Payload => defaultPayloadConverter.toPayload(value);
const refused = (message: string) => ({ kind: 'refused', message }) as const;
const codeOf = (error: unknown): unknown => Reflect.get(Object(error), 'code');
