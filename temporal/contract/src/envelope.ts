import type { AgentId, RunId, TenantId, WorkspaceId } from './ids.js';

/**
 * Who a run works for. Minted and signed by acceptRun only, carried in the Temporal header, opened at each
 * activity's door. It holds no secret: headers are not encrypted.
 */
export interface Envelope {
  readonly v: 1;
  readonly tenantId: TenantId;
  readonly workspaceId: WorkspaceId;
  readonly agentId: AgentId;
  readonly runId: RunId;
  /** Labels as of acceptance; admit uses the current rows. */
  readonly policyProfile: string;
  readonly quotaClass: string;
  /** Who asked: `key:<prefix>`, `user:<subject>` or `run:<id>`. */
  readonly actor: string;
  /** Seconds since 1970 at which it was signed. */
  readonly issuedAt: number;
}

/** Compact form `base64url(header).base64url(payload).base64url(signature)`, a JWS with EdDSA (RFC 7515, 8037). */
export type SignedEnvelope = string & { readonly __signed: 'envelope' };
