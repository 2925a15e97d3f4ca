import { condition, defineQuery, defineSignal, setHandler } from '@temporalio/workflow';
import { QUERIES, SIGNALS } from '@bulkhead/contract';
import type { ApprovalId, Json, RunState, ToolId } from '@bulkhead/contract';
import { textAt } from '../json.js';

/** What a run waits for, as its query shows it. */
export type Wait =
  | {
      readonly for: 'approval';
      readonly approvalId: ApprovalId;
      readonly expiresAt: string;
      readonly toolId: ToolId;
    }
  /** `toolId` is not there when the run waits to be told its tools. */
  | { readonly for: 'resume'; readonly state: RunState; readonly toolId?: ToolId };

/** The signals only wake: whatever they claim, the database decides when the gateway is asked again. */
export const approvalDecided = defineSignal<[unknown]>(SIGNALS.approvalDecided);
export const resume = defineSignal(SIGNALS.resume);
export const waitingFor = defineQuery<readonly Wait[]>(QUERIES.waitingFor);

/** A resume signal may be lost with the row that ordered it, so a parked run also asks by itself, slowly. */
const PARKED_RECHECK_MS = 30_000;
/** The database's clock decides expiry; a little later, ours surely agrees, and a wrong clock cannot make us spin. */
const EXPIRY_MARGIN_MS = 1_000;

export interface Waits {
  approval(approvalId: ApprovalId, expiresAt: string, toolId: ToolId): Promise<void>;
  /** Resume signals so far. */
  resumes(): number;
  /** Until there are more than `seen` of them. */
  resume(state: RunState, toolId: ToolId | undefined, seen: number): Promise<void>;
}

/** Registers the handlers; call it before the first await, or an early signal is kept for later. */
export function openWaits(): Waits {
  const decided = new Set<string>();
  const open = new Set<Wait>();
  let resumes = 0;
  // an error in here would fail the task again and again, and whoever may signal could brick the run
  setHandler(approvalDecided, (decision) => {
    const approvalId = textAt(decision as Json | undefined, 'approvalId');
    if (approvalId !== undefined) decided.add(approvalId);
  });
  setHandler(resume, () => void (resumes += 1));
  setHandler(waitingFor, () => [...open]);

  const during = async (wait: Wait, until: () => boolean, timeoutMs: number): Promise<void> => {
    open.add(wait);
    try {
      await condition(until, timeoutMs, { summary: `${wait.for} ${wait.toolId ?? 'tools'}` });
    } finally {
      open.delete(wait);
    }
  };

  return {
    async approval(approvalId, expiresAt, toolId) {
      const leftMs = Math.max(0, Date.parse(expiresAt) - Date.now()) + EXPIRY_MARGIN_MS;
      const wait = { for: 'approval', approvalId, expiresAt, toolId } as const;
      await during(wait, () => decided.has(approvalId), leftMs);
      // once per signal: an answer that still says "undecided" must lead to another wait, not to a spin
      decided.delete(approvalId);
    },
    resumes: () => resumes,
    async resume(state, toolId, seen) {
      const wait = { for: 'resume', state, ...(toolId === undefined ? {} : { toolId }) } as const;
      await during(wait, () => resumes > seen, PARKED_RECHECK_MS);
    },
  };
}
