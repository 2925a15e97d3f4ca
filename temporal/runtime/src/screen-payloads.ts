import { defaultPayloadConverter } from '@temporalio/common';
import type { PayloadCodec } from '@temporalio/common';
import type { coresdk, temporal } from '@temporalio/proto';
import { BulkheadError, REFUSED_PAYLOAD_HEADER } from '@bulkhead/contract';

type Activation = coresdk.workflow_activation.IWorkflowActivation;
type Payload = temporal.api.common.v1.IPayload;
type Headers = { [name: string]: Payload };

/**
 * Takes out what somebody sent to a workflow and the tenant's key did not seal: the arguments of a start, a signal, an
 * update, a query. Left in, the codec's refusal would fail the workflow's task again and again, and whoever may write to the
 * namespace could stop any run with one signal. A header tells workflow code, which drops or refuses what has it, and says
 * so in the journal; whoever sends that header along refuses their own message only.
 *
 * The verdict is the same at each replay, because it is about the payload alone: what cannot be judged now (the database
 * is away, the keys are destroyed, the master key is another one) stays in, and the task fails and is tried again.
 */
export async function screenPayloads(codecs: readonly PayloadCodec[], activation: Activation): Promise<void> {
  for (const job of activation.jobs ?? []) {
    for (const sent of [job.initializeWorkflow, job.queryWorkflow]) {
      if (!sent || !(await isRefused(codecs, sent.arguments))) continue;
      sent.arguments = [];
      sent.headers = marked(sent.headers);
    }
    for (const sent of [job.signalWorkflow, job.doUpdate]) {
      if (!sent || !(await isRefused(codecs, sent.input))) continue;
      sent.input = [];
      sent.headers = marked(sent.headers);
    }
  }
}

async function isRefused(
  codecs: readonly PayloadCodec[],
  payloads: Payload[] | null | undefined,
): Promise<boolean> {
  if (!payloads?.length) return false;
  try {
    let opened = payloads;
    for (const codec of codecs.toReversed()) opened = await codec.decode(opened);
    return false;
  } catch (error) {
    // any other error meets whoever decodes it in earnest, where it fails the task
    return error instanceof BulkheadError && error.code === 'PAYLOAD_REFUSED';
  }
}

const marked = (headers: Headers | null | undefined): Headers => ({
  ...headers,
  [REFUSED_PAYLOAD_HEADER]: defaultPayloadConverter.toPayload(true),
});
