import { createHash } from 'node:crypto';
import { Context } from '@temporalio/activity';
import { canonicalJson } from '@bulkhead/contract';
import type {
  CallAnswer,
  CallKey,
  CallRequest,
  Envelope,
  GrantAnswer,
  Json,
  ToolId,
  ToolList,
  ToolListAnswer,
  ToolListRequest,
} from '@bulkhead/contract';
import type { GovernedActivities } from '@bulkhead/runtime/worker';

/**
 * FAKE: stands in for broker and gateway where a test is about Workers, workflows and envelopes. It keeps the one
 * promise of the real ledger that those rely on: a call key that was answered is answered the same, without an effect.
 */
export interface ScriptedLine {
  readonly activities: GovernedActivities;
  /** Every effect that happened, in order. */
  readonly effects: { readonly envelope: Envelope; readonly request: CallRequest }[];
  /** Every question to the gateway, with or without effect. */
  readonly asked: CallRequest[];
  /** Every question for the list of tools. */
  readonly lists: { readonly envelope: Envelope; readonly request: ToolListRequest }[];
}

type WithoutKey<Answer> = Answer extends unknown ? Omit<Answer, 'key'> : never;
/** What a script says; the line adds which call it answers. */
export type ScriptedAnswer = WithoutKey<CallAnswer>;
type ScriptedList = Omit<ToolList, 'of'> | Exclude<ToolListAnswer, ToolList>;

/**
 * @param before answers a call instead of doing it (an approval, a pause), or returns undefined.
 * @param list answers a question for the list of tools.
 */
export function scriptedLine(
  before: (request: CallRequest, asked: number) => ScriptedAnswer | undefined = () => undefined,
  list: (asked: number) => ScriptedList = () => ({ kind: 'tools', tools: [] }),
): ScriptedLine {
  const ledger = new Map<string, CallAnswer>();
  const effects: ScriptedLine['effects'] = [];
  const asked: CallRequest[] = [];
  const lists: ScriptedLine['lists'] = [];
  return {
    effects,
    asked,
    lists,
    activities: {
      secretBroker: async (): Promise<GrantAnswer> => ({ kind: 'none' }),
      toolList: async (envelope, request): Promise<ToolListAnswer> => {
        lists.push({ envelope, request });
        const told = list(lists.length);
        return told.kind === 'tools' ? { ...told, of: { runId: envelope.runId, ...request } } : told;
      },
      toolGateway: async (envelope, request): Promise<CallAnswer> => {
        asked.push(request);
        const key = keyOf(envelope, Context.current().info.workflowExecution?.workflowId ?? '', request);
        const closed = ledger.get(key) ?? before(request, asked.length);
        if (closed) return { ...closed, key } as CallAnswer;
        effects.push({ envelope, request });
        const answer: CallAnswer = { kind: 'ok', value: valueOf(request.toolId), key };
        ledger.set(key, answer);
        return answer;
      },
    },
  };
}

const keyOf = (envelope: Envelope, workflowId: string, request: CallRequest): CallKey =>
  createHash('sha256')
    .update(
      canonicalJson([
        envelope.tenantId,
        workflowId,
        request.segment,
        request.toolId,
        request.args,
        request.n,
      ]),
    )
    .digest('hex') as CallKey;

function valueOf(tool: ToolId): Json {
  if (tool === 'helpdesk.ticket.read')
    return { id: 'T-1', subject: 'Lost password', body: 'Please help', status: 'open' };
  if (tool === 'model.chat') return { text: 'We have sent you a link.' };
  return { done: true };
}
