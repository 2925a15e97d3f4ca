import { Client, Connection } from '@temporalio/client';
import type { WorkflowClientInterceptor } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import type { PayloadCodec } from '@temporalio/common';
import { ENVELOPE_HEADER, placementOf } from '@bulkhead/contract';
import type { SignedEnvelope, TenantId } from '@bulkhead/contract';
import { converterOf } from './codec.js';

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

export interface TenantClientOptions {
  /** Seals and opens what is sent and read: createTenantCodec, or createCarrierCodec where there is no key. */
  readonly codec: PayloadCodec;
  /** Given to each workflow that is started or signalled. */
  readonly envelope?: SignedEnvelope | undefined;
}

/** A client of one tenant's namespace. */
export function openTenantClient(
  connection: Connection,
  tenantId: TenantId,
  { codec, envelope }: TenantClientOptions,
): Client {
  return new Client({
    connection,
    namespace: placementOf(tenantId).namespace,
    identity: 'bulkhead',
    dataConverter: converterOf(codec),
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
