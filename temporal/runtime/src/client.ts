import { Client, Connection } from '@temporalio/client';
import type { WorkflowClientInterceptor } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { ENVELOPE_HEADER, placementOf } from '@bulkhead/contract';
import type { SignedEnvelope, TenantId } from '@bulkhead/contract';

export interface ClientOptions {
  /** host:port of the frontend. */
  readonly address: string;
  readonly tls?: boolean | undefined;
  /** Asked for each request, so a rotated token is used at once. */
  readonly token: () => string;
}

/** A lazy connection: it connects at the first request and again after each loss, so a server that is away is no error here. */
export function openConnection(options: ClientOptions): Connection {
  return Connection.lazy({
    address: options.address,
    // an apiKey alone would switch TLS on
    tls: options.tls ?? false,
    apiKey: options.token,
    connectTimeout: '5s',
  });
}

/** A client of one tenant's namespace that gives each workflow it starts or signals the run's envelope. */
export function openTenantClient(
  connection: Connection,
  tenantId: TenantId,
  envelope?: SignedEnvelope,
): Client {
  return new Client({
    connection,
    namespace: placementOf(tenantId).namespace,
    identity: 'bulkhead',
    interceptors: { workflow: envelope === undefined ? [] : [carry(envelope)] },
  });
}

function carry(envelope: SignedEnvelope): WorkflowClientInterceptor {
  const payload = defaultPayloadConverter.toPayload(envelope);
  const withEnvelope = <Input extends { readonly headers: object }>(input: Input): Input => ({
    ...input,
    headers: { ...input.headers, [ENVELOPE_HEADER]: payload },
  });
  return {
    start: (input, next) => next(withEnvelope(input)),
    signal: (input, next) => next(withEnvelope(input)),
  };
}
