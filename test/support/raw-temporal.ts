import { randomUUID } from 'node:crypto';
import { defaultPayloadConverter } from '@temporalio/client';
import type { Connection } from '@temporalio/client';
import type { PayloadCodec } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import { ENVELOPE_HEADER } from '@bulkhead/contract';

/** What an attacker with a tenant's token does without our Worker: raw requests and hand-made workflow commands. */

export type Command = temporal.api.command.v1.ICommand;
export const { CommandType, EventType } = temporal.api.enums.v1;

/** Arguments as the holder of a tenant's key seals them: refused for something else, they prove nothing of the envelope. */
export const payloadsOf = async (codec: Pick<PayloadCodec, 'encode'>, ...values: unknown[]) => ({
  payloads: await codec.encode(values.map((value) => defaultPayloadConverter.toPayload(value))),
});

/** A header as a client writes it; undefined leaves the envelope out. */
export const headerOf = (envelope: unknown) =>
  envelope === undefined
    ? {}
    : { fields: { [ENVELOPE_HEADER]: defaultPayloadConverter.toPayload(envelope) } };

/** Starts a workflow on a queue that nobody but the attacker polls, and takes its first task. */
export async function takeTask(
  connection: Connection,
  namespace: string,
  workflowId: string,
): Promise<Uint8Array> {
  const taskQueue = { name: `evil-${randomUUID()}` };
  await connection.workflowService.startWorkflowExecution({
    namespace,
    workflowId,
    workflowType: { name: 'evil' },
    taskQueue,
    requestId: randomUUID(),
  });
  // a poll without a deadline is refused as malformed
  const task = await connection.withDeadline(Date.now() + 20_000, () =>
    connection.workflowService.pollWorkflowTaskQueue({ namespace, taskQueue, identity: 'evil' }),
  );
  return task.taskToken;
}

/** Completes that task with the attacker's own commands. @throws ServiceError when the server refuses them. */
export async function complete(
  connection: Connection,
  namespace: string,
  taskToken: Uint8Array,
  commands: Command[],
): Promise<void> {
  await connection.workflowService.respondWorkflowTaskCompleted({
    namespace,
    taskToken,
    commands,
    identity: 'evil',
  });
}

/** gRPC codes of "you may not": permission denied, unauthenticated. */
export const isRefusal = (error: unknown): boolean =>
  [7, 16].includes(Number(Reflect.get(Object(error), 'code')));
