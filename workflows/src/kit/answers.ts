import { argsWithoutText, callText, parseRunId, REFUSAL_KINDS, sha256Hex } from '@bulkhead/contract';
import type { CallAnswer, CallIdentity, CallRequest, Json, ToolListRequest } from '@bulkhead/contract';

/**
 * Whether an answer is one that the gateway gave for this call. That the tenant's key sealed it does not say so: whoever
 * may write to the namespace can also copy the sealed answer of another call, or any other sealed value.
 */
export function answers(request: CallRequest, workflowId: string, answer: unknown): answer is CallAnswer {
  if (!isRecord(answer)) return false;
  const { kind, key } = answer;
  if (!isText(key) || key !== keyOf(request, workflowId)) return false;
  switch (kind) {
    case 'approval_required':
      return hasReason(answer) && isText(answer['approvalId']) && isInstant(answer['expiresAt']);
    case 'parked':
      return hasReason(answer) && isText(answer['state']);
    case 'grant_stale':
      return hasReason(answer);
    default:
      return isOk(answer) || isRefusal(answer);
  }
}

/** Whether the broker can have answered that. */
export const isGrantAnswer = (answer: unknown): boolean =>
  isRecord(answer) &&
  (answer['kind'] === 'none' ||
    (answer['kind'] === 'grant' && isText(answer['grantId'])) ||
    (answer['kind'] === 'denied' && hasReason(answer)));

/** Whether a host told this run that, and when it was asked this: another run's list is sealed with the same key. */
export function isToolList({ system, after }: ToolListRequest, runId: string, answer: unknown): boolean {
  if (!isRecord(answer)) return false;
  if (answer['kind'] === 'parked') return hasReason(answer) && isText(answer['state']);
  const { kind, tools, of } = answer;
  if (kind !== 'tools' || !Array.isArray(tools) || !isRecord(of)) return false;
  return of['runId'] === runId && of['system'] === system && of['after'] === after;
}

/** The key under which the ledger has this call. */
function keyOf({ toolId, args, segment, n }: CallRequest, workflowId: string): string | undefined {
  const tenantId = parseRunId(workflowId)?.tenantId;
  if (tenantId === undefined) return undefined;
  const call = { tenantId, workflowId, segment, toolId, n, args: asSent(args) };
  return sha256Hex(textOf(call));
}

function textOf(call: CallIdentity): string {
  try {
    return callText(call);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return callText({ ...call, args: argsWithoutText(call.args) });
  }
}

/** As the gateway reads them: an author's value may have more in it than JSON carries. */
const asSent = (args: Json): Json => (JSON.parse(JSON.stringify({ args })) as { args: Json }).args;

type Fields = { readonly [name: string]: unknown };
const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isText = (value: unknown): boolean => typeof value === 'string';
const isInstant = (value: unknown): boolean =>
  typeof value === 'string' && Number.isFinite(Date.parse(value));
const hasReason = ({ reason }: Fields): boolean => isRecord(reason) && isText(reason['message']);
const isOk = (answer: Fields): boolean => answer['kind'] === 'ok' && answer['value'] !== undefined;
const isRefusal = (answer: Fields): boolean =>
  REFUSAL_KINDS.some((kind) => kind === answer['kind']) && hasReason(answer);
