import type { InjectedSinks } from '@temporalio/worker';
import { ENVELOPE_DIFFERENCES, REFUSAL_SINK } from '@bulkhead/contract';
import type { EnvelopeRefusal, RefusalSink, TenantId } from '@bulkhead/contract';

/** Called at the moment of a refusal; must neither throw nor wait. `tenantId` is the Worker's own. */
export type OnRefusal = (tenantId: TenantId, refusal: EnvelopeRefusal) => void;

/**
 * What workflow code refused, on its way out of the sandbox. A sink and no activity: it writes no history, which a flood
 * of forged signals would let grow, and it is called once and not at each replay. A host that dies at that moment loses
 * the record, not the refusal.
 */
export function refusalSink(tenantId: TenantId, onRefusal: OnRefusal): InjectedSinks<RefusalSink> {
  return {
    [REFUSAL_SINK]: {
      refused: {
        callDuringReplay: false,
        fn: ({ workflowId }, at, code, differs) =>
          onRefusal(tenantId, {
            at,
            code,
            differs: ENVELOPE_DIFFERENCES.filter((name) => differs.split(',').includes(name)),
            workflowId,
          }),
      },
    },
  };
}
