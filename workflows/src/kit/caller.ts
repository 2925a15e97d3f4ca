import { canonicalJson } from '@bulkhead/contract';
import type {
  ApprovalId,
  CallAnswer,
  CallRequest,
  GrantAnswer,
  Json,
  Outcome,
  RunState,
  ToolId,
} from '@bulkhead/contract';

/** What the caller needs from the outside; the kit binds it to Temporal, specs to plain functions. */
export interface CallerPorts {
  broker(toolId: ToolId): Promise<GrantAnswer>;
  /** @param expensive over the tenant's second queue */
  gateway(request: CallRequest, expensive: boolean): Promise<CallAnswer>;
  /** Returns when the approval was decided or has expired. */
  approval(approvalId: ApprovalId, expiresAt: string, toolId: ToolId): Promise<void>;
  /** How many resume signals have come so far. */
  resumes(): number;
  /** Returns when it is worth asking again: at once when more than `seen` resume signals have come. */
  resume(state: RunState, toolId: ToolId, seen: number): Promise<void>;
}

/** One call of a tool: its outcome is a value; only faults of the platform are thrown. */
export type Call = (toolId: ToolId, args: Json) => Promise<Outcome>;

type Granted = Exclude<GrantAnswer, { kind: 'denied' }>;

/**
 * Calls tools for one segment of a run. Waits (approval, pause, kill) happen in here, with the same call key before
 * and after, so an author never sees them and a call that was stopped continues exactly where it was.
 */
export function createCaller(segment: number, ports: CallerPorts): Call {
  const nextN = createCounter();
  const grants = createGrantCache(ports);

  return async (toolId, args) => {
    // taken before anything is awaited: the order of the author's calls counts, not the order of answers
    const n = nextN(toolId, args);
    let refreshed = false;
    let approvalId: ApprovalId | undefined;
    for (;;) {
      const grant = await grants.of(toolId);
      if (grant.kind === 'denied') return grant;
      // before the question: a resume that comes while the answer "parked" is on its way must not be missed
      const seen = ports.resumes();
      const request: CallRequest = {
        toolId,
        args,
        segment,
        n,
        ...(grant.kind === 'grant' ? { grantId: grant.grantId } : {}),
        ...(approvalId === undefined ? {} : { approvalId }),
      };
      const answer = await ports.gateway(request, grant.expensive === true);
      switch (answer.kind) {
        case 'grant_stale':
          if (refreshed) return { kind: 'denied', reason: answer.reason };
          refreshed = true;
          grants.forget(toolId);
          break;
        case 'approval_required':
          await ports.approval(answer.approvalId, answer.expiresAt, toolId);
          approvalId = answer.approvalId;
          // a credential may well be rotated while a person thinks: that is not "stale twice"
          refreshed = false;
          break;
        case 'parked':
          await ports.resume(answer.state, toolId, seen);
          refreshed = false;
          break;
        default:
          return answer;
      }
    }
  };
}

/** How many earlier calls had the same tool and arguments: equal calls are told apart by their order. */
function createCounter(): (toolId: ToolId, args: Json) => number {
  const seen = new Map<string, number>();
  return (toolId, args) => {
    const identity = identityOf(toolId, args);
    const n = seen.get(identity) ?? 0;
    seen.set(identity, n + 1);
    return n;
  };
}

/** Half a character has no canonical text. The gateway refuses it as a value; thrown here, it would fail the task for ever. */
function identityOf(toolId: ToolId, args: Json): string {
  try {
    return canonicalJson([toolId, args]);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return JSON.stringify([toolId, args]);
  }
}

/** A grant is asked for once per tool and kept until it is stale; a refusal is not kept. Parallel calls share one question. */
function createGrantCache(ports: CallerPorts) {
  const grants = new Map<ToolId, Promise<GrantAnswer>>();
  const ask = async (toolId: ToolId): Promise<GrantAnswer> => {
    try {
      const answer = await ports.broker(toolId);
      if (!isGranted(answer)) grants.delete(toolId);
      return answer;
    } catch (error) {
      grants.delete(toolId);
      throw error;
    }
  };
  return {
    of(toolId: ToolId): Promise<GrantAnswer> {
      const known = grants.get(toolId) ?? ask(toolId);
      grants.set(toolId, known);
      return known;
    },
    forget(toolId: ToolId): void {
      grants.delete(toolId);
    },
  };
}

const isGranted = (answer: GrantAnswer): answer is Granted => answer.kind !== 'denied';
