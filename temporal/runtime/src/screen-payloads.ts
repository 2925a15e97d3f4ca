import { defaultPayloadConverter } from '@temporalio/common';
import type { PayloadCodec } from '@temporalio/common';
import type { coresdk, temporal } from '@temporalio/proto';
import { BulkheadError, FAILURES, REFUSED_PAYLOAD_HEADER } from '@bulkhead/contract';

type Activation = coresdk.workflow_activation.IWorkflowActivation;
type Start = coresdk.workflow_activation.IInitializeWorkflow;
type Answer = coresdk.activity_result.IActivityResolution;
type Failure = temporal.api.failure.v1.IFailure;
type Payload = temporal.api.common.v1.IPayload;
type Headers = { [name: string]: Payload };

/**
 * Takes out what somebody sent to a workflow and the tenant's key did not seal: what it was started with, the arguments of a
 * signal, an update, a query, and the answer of an activity. Left in, the codec's refusal would fail the workflow's task again
 * and again, and whoever may write to the namespace could stop any run with one message.
 *
 * A message is marked with a header, and workflow code drops or refuses what has it; whoever sends that header along
 * refuses their own message only. In the place of an answer stands a failure that no server and no activity can give: the
 * kit asks the line again, which answers what the ledger has for this call.
 *
 * The verdict is the same at each replay, because it is about the payload alone: what cannot be judged now (the database
 * is away, the keys are destroyed or missing) stays in, and the task fails and is tried again.
 */
export async function screenPayloads(codecs: readonly PayloadCodec[], activation: Activation): Promise<void> {
  const isRefused = judgeOf(codecs);
  for (const job of activation.jobs ?? []) {
    const { initializeWorkflow: start, queryWorkflow: query, resolveActivity: answered } = job;
    if (start && (await isRefused(startedWith(start)))) {
      Object.assign(start, { arguments: [], memo: null, lastCompletionResult: null, continuedFailure: null });
      start.headers = marked(start.headers);
    }
    if (query && (await isRefused(query.arguments ?? []))) {
      query.arguments = [];
      query.headers = marked(query.headers);
    }
    for (const sent of [job.signalWorkflow, job.doUpdate]) {
      if (!sent || !(await isRefused(sent.input ?? []))) continue;
      sent.input = [];
      sent.headers = marked(sent.headers);
    }
    if (answered?.result) answered.result = await screened(isRefused, answered.result);
  }
}

const startedWith = ({ arguments: args, memo, lastCompletionResult, continuedFailure }: Start): Payload[] => [
  ...(args ?? []),
  ...Object.values(memo?.fields ?? {}),
  ...(lastCompletionResult?.payloads ?? []),
  ...chainOf(continuedFailure).flatMap(payloadsOf),
];

/** Our activities always answer something, and what fails in them stands in a sealed payload: see `failure-converter.ts`. */
async function screened(isRefused: Judge, answer: Answer): Promise<Answer> {
  const { completed, failed, cancelled } = answer;
  if (completed) return !completed.result || (await isRefused([completed.result])) ? ANSWER_REFUSED : answer;
  if (failed) {
    const chain = chainOf(failed.failure);
    return chain.some(isReadable) || (await isRefused(chain.flatMap(payloadsOf))) ? ANSWER_REFUSED : answer;
  }
  // only what the run itself cancelled can end so: that much may be believed, what came with it not
  if (cancelled && (await isRefused(chainOf(cancelled.failure).flatMap(payloadsOf)))) return CANCELLED;
  return answer;
}

/** By itself, where one of an activity is a cause within Temporal's own failure of it. */
const ANSWER_REFUSED: Answer = {
  failed: {
    failure: {
      message: FAILURES.PAYLOAD_REFUSED.publicMessage,
      applicationFailureInfo: { type: 'PAYLOAD_REFUSED', nonRetryable: true },
    },
  },
};
const CANCELLED: Answer = { cancelled: { failure: { canceledFailureInfo: {} } } };

function chainOf(failure: Failure | null | undefined): Failure[] {
  const chain: Failure[] = [];
  for (let at = failure; at; at = at.cause) chain.push(at);
  return chain;
}

/** The server makes failures of other kinds (timeouts); it takes this kind only from whoever answers for an activity. */
const isReadable = ({ applicationFailureInfo, encodedAttributes }: Failure): boolean =>
  Boolean(applicationFailureInfo) && !encodedAttributes;

const payloadsOf = (failure: Failure): Payload[] => [
  ...(failure.encodedAttributes ? [failure.encodedAttributes] : []),
  ...(failure.applicationFailureInfo?.details?.payloads ?? []),
  ...(failure.timeoutFailureInfo?.lastHeartbeatDetails?.payloads ?? []),
  ...(failure.canceledFailureInfo?.details?.payloads ?? []),
  ...(failure.resetWorkflowFailureInfo?.lastHeartbeatDetails?.payloads ?? []),
];

type Judge = (payloads: Payload[]) => Promise<boolean>;

const judgeOf =
  (codecs: readonly PayloadCodec[]): Judge =>
  async (payloads) => {
    if (payloads.length === 0) return false;
    try {
      let opened = payloads;
      for (const codec of codecs.toReversed()) opened = await codec.decode(opened);
      return false;
    } catch (error) {
      // any other error meets whoever decodes it in earnest, where it fails the task
      return error instanceof BulkheadError && error.code === 'PAYLOAD_REFUSED';
    }
  };

const marked = (headers: Headers | null | undefined): Headers => ({
  ...headers,
  [REFUSED_PAYLOAD_HEADER]: defaultPayloadConverter.toPayload(true),
});
