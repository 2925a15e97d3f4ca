import { argsWithoutText, BulkheadError, buildApprovalId } from '@bulkhead/contract';
import type { CallAnswer, CallKey, CallRequest, Envelope } from '@bulkhead/contract';
import { isAdmission } from '@bulkhead/journal/line';
import type { Admission, Call } from '@bulkhead/journal/line';
import type { AllowDecision, CallFacts } from '@bulkhead/policy/line';
import { PURPOSES } from '@bulkhead/runtime/keys';
import type { Lease } from '@bulkhead/secret-broker/line';
import type { Ending } from './adapters/adapter.js';
import { answerOf, noCredential, rejected } from './answers.js';
import { approvalDigest, callKey } from './call-key.js';
import type { GatewayContext, GatewayDeps, ToolGateway } from './deps.js';
import type { CallInFlight } from './in-flight.js';
import { describeMatched, systemOf } from './describe-call.js';
import { invoke } from './invoke.js';
import type { MatchedCall } from './match.js';
import { createRedactor } from './redact.js';
import { settleCall } from './settle.js';

/** How often a call is decided again because policy or tool changed meanwhile. */
const DECISIONS_MAX = 4;
const HEARTBEAT_MS = 2_000;
/** The tool was declared anew while the run remembered which queue it is called over: the kit asks the broker again. */
const ELSEWHERE = {
  kind: 'grant_stale',
  reason: { message: 'The tool has moved to another queue.', layer: 'tools' },
} as const;

/**
 * The line of one effect: match, authorise, admit, lease, invoke, redact, settle. Each step hands the next a ticket
 * that only its own room can make; a step left out does not compile.
 * @throws BulkheadError faults of the platform (held, fenced, database away); everything else is an answer.
 */
export function createToolGateway(deps: GatewayDeps): ToolGateway {
  return async (envelope, request, context) => {
    // from the first step to the last: settling may have to wait for the database longer than a heartbeat may be late
    const heart = setInterval(context.heartbeat, HEARTBEAT_MS);
    try {
      return await runCall(deps, envelope, request, context);
    } finally {
      clearInterval(heart);
    }
  };
}

async function runCall(
  deps: GatewayDeps,
  envelope: Envelope,
  request: CallRequest,
  context: GatewayContext,
): Promise<CallAnswer> {
  const { tenantId, policyProfile } = envelope;
  const { toolId, args } = request;
  const key = keyOf(envelope, request, context);
  if (key === undefined) return refuseText(deps, envelope, request, context);
  for (let round = 0; round < DECISIONS_MAX; round += 1) {
    const fresh = round > 0;
    const matched = await deps.matcher.match(tenantId, toolId, args, { fresh });
    if (matched.kind === 'invalid') {
      const { reason } = matched;
      return rejected(deps, envelope, { key, toolId, kind: 'invalid_input', policyVersion: 0, reason });
    }
    if (matched.spec.expensive !== context.onExpensiveQueue) {
      // what this process remembers of the tool may be a second old
      if (!fresh) continue;
      return { ...ELSEWHERE, key };
    }
    const decision = await deps.policy.authorise(tenantId, policyProfile, factsOf(envelope, matched), {
      fresh,
    });
    if (decision.kind === 'deny') {
      const { policyVersion, message, rule } = decision;
      return rejected(deps, envelope, {
        key,
        toolId,
        kind: 'denied',
        policyVersion,
        reason: { message, rule },
      });
    }
    const held = deps.toolState.refusal(tenantId, matched);
    if (held !== undefined) {
      const { policyVersion } = decision;
      return rejected(deps, envelope, {
        key,
        toolId,
        kind: 'provider_unavailable',
        policyVersion,
        reason: held,
      });
    }
    const call = await describe(deps, envelope, request, context, key, matched, decision);
    context.signal.throwIfAborted();
    const flight = deps.inFlight.enter(tenantId, key);
    try {
      const admitted = await deps.journal.admit(tenantId, decision, call);
      if (admitted.kind === 'policy_moved' || admitted.kind === 'tool_moved') continue;
      if (admitted.kind !== 'admitted') return await answerOf(deps, envelope, decision, call, admitted);
      const performed = await perform(deps, context, flight, matched, admitted.admission);
      if (performed === 'no_credential' && fresh) return await noCredential(deps, envelope, decision, call);
      // a stop broke it off, or its credential ended meanwhile: admit says what the run has to wait for
      if (typeof performed === 'object') return performed;
    } finally {
      flight.end();
    }
  }
  throw new BulkheadError('POLICY_MOVING', { internal: `policy or tool moved ${DECISIONS_MAX} times` });
}

/**
 * From here on the effect has begun: whatever happens, it is settled. undefined: it was stopped and may be asked again.
 * `no_credential`: nothing was sent, because the credential that the tool needs cannot be opened.
 * @throws BulkheadError INTERNAL when the ticket is not one; faults of the platform
 */
async function perform(
  deps: GatewayDeps,
  context: GatewayContext,
  flight: CallInFlight,
  matched: MatchedCall,
  admission: Admission,
): Promise<CallAnswer | 'no_credential' | undefined> {
  if (!isAdmission(admission)) {
    throw new BulkheadError('INTERNAL', { internal: 'the journal did not make this admission' });
  }
  let lease: Lease | undefined;
  let ending: Ending;
  let fault: unknown;
  try {
    lease = await deps.broker.lease(admission);
    if (admission.secret && typeof lease?.reveal !== 'function') {
      throw new BulkheadError('SECRET_UNAVAILABLE', { internal: 'the broker gave no credential' });
    }
    ending = await invoke(deps, context, flight, matched, admission, lease);
  } catch (error) {
    // the lease failed: nothing was sent (invoke itself does not throw)
    fault = error;
    ending = {
      kind: 'not_sent',
      refusal: 'provider_unavailable',
      message: 'The credential is not available.',
    };
  }
  try {
    // what the ending says about the tool is known to the other hosts before the author hears of it
    const noted = noteEnding(deps, context, flight, matched, admission, lease, ending);
    const settling = settleCall(deps, context, flight, matched, admission, lease, ending);
    if (noted !== undefined) await Promise.allSettled([noted, settling]);
    const answer = await settling;
    await noted;
    if (fault === undefined) return answer;
    if (isCredentialFault(fault)) return answer && 'no_credential';
    throw fault;
  } finally {
    lease?.end();
  }
}

/** Trying again would open nothing; a database that is away is another matter, and comes back by itself. */
const isCredentialFault = (fault: unknown): boolean =>
  fault instanceof BulkheadError && (fault.code === 'SECRET_UNAVAILABLE' || fault.code === 'KEY_DESTROYED');

/** A call that we stopped ourselves says nothing about the tool; what a server offers may echo the credential. */
function noteEnding(
  deps: GatewayDeps,
  { signal }: GatewayContext,
  flight: CallInFlight,
  matched: MatchedCall,
  { tenantId }: Admission,
  lease: Lease | undefined,
  ending: Ending,
): Promise<void> | undefined {
  if (signal.aborted || flight.stopped()) return undefined;
  if (ending.kind !== 'not_sent' || ending.offer === undefined || lease === undefined) {
    return deps.toolState.note(tenantId, matched, ending);
  }
  const { text, json } = createRedactor(lease.reveal());
  const { pin, description, inputSchema } = ending.offer;
  const offer = { pin, description: text(description), inputSchema: json(inputSchema) };
  return deps.toolState.note(tenantId, matched, { ...ending, offer });
}

function factsOf(envelope: Envelope, matched: MatchedCall): CallFacts {
  const { agentId: agent, workspaceId: workspace, actor, runId } = envelope;
  return { ...describeMatched(matched), agent, workspace, actor, runId };
}

/** Everything that admit judges, and, sealed, what authorise saw and what will be done. */
async function describe(
  deps: GatewayDeps,
  envelope: Envelope,
  request: CallRequest,
  context: GatewayContext,
  key: CallKey,
  matched: MatchedCall,
  { facts }: AllowDecision,
): Promise<Call> {
  const { tenantId, runId, agentId, actor } = envelope;
  const { spec, toolId, version, destination, args } = matched;
  const secretName = spec.credential?.secret;
  const { effect, idempotency, description } = spec;
  const shown = { description, effect, idempotency, credential: secretName ?? null };
  const sealed = JSON.stringify({ facts, target: destination.target, adapter: spec.adapter, shown });
  return {
    runId,
    workflowId: context.workflowId,
    temporalRunId: context.temporalRunId,
    agentId,
    key,
    toolId,
    toolVersion: version,
    effectClass: spec.effect,
    idempotency: spec.idempotency,
    system: systemOf(toolId),
    access: spec.effect === 'read' ? 'read' : 'mutate',
    secretName,
    grantId: request.grantId,
    target: destination.target,
    digest: approvalDigest({
      tenantId,
      runId,
      key,
      toolId,
      toolVersion: version,
      destination: destination.url?.href ?? destination.target,
      credential: secretName ?? null,
      args,
    }),
    request: await deps.keyRing.seal(tenantId, PURPOSES.effectRequest, Buffer.from(sealed, 'utf8')),
    requestedBy: actor,
    newApprovalId: buildApprovalId(tenantId, deps.newUlid()),
    host: context.host,
    token: context.token,
    timeoutMs: spec.timeoutMs,
    costMicros: spec.costMicros,
  };
}

function keyOf(envelope: Envelope, request: CallRequest, context: GatewayContext): CallKey | undefined {
  const { tenantId } = envelope;
  const { toolId, args, segment, n } = request;
  try {
    return callKey({ tenantId, workflowId: context.workflowId, segment, toolId, args, n });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return undefined;
  }
}

/** Arguments without a canonical text (a lone surrogate) have no key of their own; the refusal still needs one. */
function refuseText(
  deps: GatewayDeps,
  envelope: Envelope,
  request: CallRequest,
  context: GatewayContext,
): Promise<CallAnswer> {
  const key = keyOf(envelope, { ...request, args: argsWithoutText(request.args) }, context);
  if (key === undefined) throw new BulkheadError('INTERNAL', { internal: 'the refusal has no key' });
  const reason = { message: 'args contains text that is not valid Unicode.', field: 'args' };
  return rejected(deps, envelope, {
    key,
    toolId: request.toolId,
    kind: 'invalid_input',
    policyVersion: 0,
    reason,
  });
}
