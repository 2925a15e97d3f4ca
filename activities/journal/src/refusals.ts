import { envelopeDifferences, parseRunId, runIdOfWorkflow } from '@bulkhead/contract';
import type { EnvelopeRefusal, RunId, TenantId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';

/** Equal refusals of one tenant are one record at once and one more with their number at the end of this time. */
const WINDOW_MS = 60_000;
/** Different refusals of one tenant that are recorded one by one in a window; all further ones are counted together. */
const DISTINCT_MAX = 60;
/** A workflow id is text of whoever started the workflow. */
const WORKFLOW_ID_MAX = 200;

export interface RefusalJournalDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  readonly hostId: string;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
  readonly log: { warn(fields: object, message: string): void };
  /** Something new is to be written: call `writeOnce` soon. */
  readonly onNew: () => void;
  /** 60 unless told. */
  readonly distinctMax?: number;
}

/** Keeps what was refused, so that a flood of forgeries is counted and cannot fill the journal. */
export interface RefusalJournal {
  /** Takes note at once and neither waits nor throws. */
  note(tenantId: TenantId, refusal: EnvelopeRefusal): void;
  /** Writes what is due; call it every few seconds and after each `note` of something new. */
  writeOnce(options?: { readonly all?: boolean }): Promise<void>;
}

interface Entry {
  readonly refusal: EnvelopeRefusal | undefined;
  seen: number;
  written: number;
}
interface Window {
  endsMs: number;
  readonly entries: Map<string, Entry>;
}

/** Stands for all refusals beyond the first DISTINCT_MAX kinds. */
const OTHERS = '';

export function createRefusalJournal(deps: RefusalJournalDeps): RefusalJournal {
  const { door, hostId, nowMs, log, onNew } = deps;
  const windows = new Map<TenantId, Window>();

  const write = async (tenantId: TenantId, { refusal }: Entry, times: number): Promise<void> => {
    await door.tenant(tenantId).run(async (tx) => {
      const runId = refusal && runOf(tenantId, refusal.workflowId);
      const run =
        runId &&
        (await tx.run.findUnique({
          where: { tenantId_id: { tenantId, id: runId } },
          select: { envelope: true },
        }));
      const body = {
        refused: refusal?.code === 'PAYLOAD_REFUSED' ? 'payload' : 'envelope',
        times,
        host: hostId,
        ...(refusal ? shown(refusal, run?.envelope) : {}),
      };
      await tx.journalRecord.create({
        data: {
          tenantId,
          kind: 'refusal',
          runId: run && runId ? runId : null,
          body,
        },
        select: { id: true },
      });
    });
  };

  const writeWindow = async (tenantId: TenantId, window: Window, over: boolean): Promise<void> => {
    for (const [key, entry] of window.entries) {
      const times = entry.seen - entry.written;
      if (times > 0 && (entry.written === 0 || over)) {
        await write(tenantId, entry, times);
        entry.written += times;
      }
      // more may have come while it was written: that is counted into the next window
      if (over && entry.seen === entry.written) window.entries.delete(key);
    }
    if (!over) return;
    window.endsMs = nowMs() + WINDOW_MS;
    if (window.entries.size === 0) windows.delete(tenantId);
  };

  return {
    note(tenantId, refusal) {
      const window = windows.get(tenantId) ?? {
        endsMs: nowMs() + WINDOW_MS,
        entries: new Map<string, Entry>(),
      };
      windows.set(tenantId, window);
      const key = [refusal.at, refusal.code, refusal.differs.join(), refusal.workflowId].join(' ');
      const full = window.entries.size >= (deps.distinctMax ?? DISTINCT_MAX);
      const entry = window.entries.get(key) ??
        window.entries.get(full ? OTHERS : key) ?? {
          refusal: full ? undefined : refusal,
          seen: 0,
          written: 0,
        };
      if (entry.seen === 0) {
        window.entries.set(full ? OTHERS : key, entry);
        const { at, code, differs } = refusal;
        log.warn({ tenantId, at, code, differs }, 'what came with a message was refused');
        onNew();
      }
      entry.seen += 1;
    },

    async writeOnce({ all = false } = {}) {
      let fault: unknown;
      for (const [tenantId, window] of windows) {
        try {
          await writeWindow(tenantId, window, all || nowMs() >= window.endsMs);
        } catch (error) {
          fault ??= error; // what was not written is still due; the other tenants' must not wait for it
        }
      }
      if (fault !== undefined) throw fault;
    },
  };
}

/** The run that the workflow belongs to, when it is one of this tenant's. */
function runOf(tenantId: TenantId, workflowId: string): RunId | undefined {
  const run = runIdOfWorkflow(workflowId);
  return parseRunId(run)?.tenantId === tenantId ? run : undefined;
}

/** Names only. What was presented is compared with what was accepted, when there is such a run, and forgotten. */
function shown(refusal: EnvelopeRefusal, accepted: string | undefined): object {
  const { at, code, workflowId, presented } = refusal;
  const found =
    accepted === undefined || presented === undefined ? [] : envelopeDifferences(presented, accepted);
  const differs = found.length > 0 ? found : refusal.differs;
  // what no column can hold must not stand in the way of the record
  const named = workflowId.slice(0, WORKFLOW_ID_MAX).toWellFormed().replaceAll('\0', '\ufffd');
  return { at, code, differs: [...differs], workflowId: named };
}
