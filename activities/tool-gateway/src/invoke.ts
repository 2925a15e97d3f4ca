import type { Admission } from '@bulkhead/journal/line';
import type { Lease } from '@bulkhead/secret-broker/line';
import type { Ending, Invocation } from './adapters/adapter.js';
import { idempotencyKey } from './call-key.js';
import type { GatewayContext, GatewayDeps } from './deps.js';
import type { CallInFlight } from './in-flight.js';
import type { MatchedCall } from './match.js';

/** Sends the one request that was admitted. Never throws. */
export async function invoke(
  deps: Pick<GatewayDeps, 'adapters' | 'stillMine'>,
  context: GatewayContext,
  flight: CallInFlight,
  matched: MatchedCall,
  admission: Admission,
  lease: Lease | undefined,
): Promise<Ending> {
  const { spec, args, destination } = matched;
  const timeout = AbortSignal.timeout(spec.timeoutMs);
  const common = {
    tenantId: admission.tenantId,
    args,
    url: destination.url,
    idempotencyKey: idempotencyKey(admission.key),
    lease,
    signal: AbortSignal.any([context.signal, flight.signal, timeout]),
    mayBegin: () => saysYes(deps.stillMine) && !flight.stopped(),
    // in this order: a call that may be sent counts as sent
    stillMine: () => saysYes(deps.stillMine) && flight.maySend(),
  };
  try {
    return await dispatch(deps, { ...common, spec });
  } catch {
    // a bug in an adapter: nobody knows how far it came, and the error may quote the credential
    return { kind: 'unknown', message: 'The adapter failed.' };
  }
}

/** Only a plain yes lets a byte out; an error here would reach a socket's event and end the process. */
function saysYes(stillMine: () => boolean): boolean {
  try {
    return stillMine() === true;
  } catch {
    return false;
  }
}

function dispatch(deps: Pick<GatewayDeps, 'adapters'>, invocation: Invocation): Promise<Ending> {
  const { spec } = invocation;
  switch (spec.adapter) {
    case 'http':
      return deps.adapters.http({ ...invocation, spec });
    case 'mcp':
      return deps.adapters.mcp({ ...invocation, spec });
    case 'model':
      return deps.adapters.model({ ...invocation, spec });
  }
}
