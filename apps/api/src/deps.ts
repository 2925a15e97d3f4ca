import type { Logger } from 'pino';
import type { Json, RunId, TenantId, ToolId } from '@bulkhead/contract';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { TenantDb, TenantDoor } from '@bulkhead/prisma/tenant';
import type { AcceptRun } from '@bulkhead/runs/admin';
import type { Role } from '@bulkhead/tenancy/admin';

/** Injection token of ApiDeps: everything the API needs from outside, composed once in compose.ts. */
export const API_DEPS = Symbol('ApiDeps');

export interface ApiDeps {
  readonly door: TenantDoor;
  /** For authentication, sessions and the run feed only; everything else goes through the tenant door. */
  readonly control: ControlDb;
  readonly acceptRun: AcceptRun;
  readonly approvals: ApprovalDesk;
  readonly tools: { list(db: TenantDb): Promise<readonly ToolView[]> };
  readonly journal: { list(db: TenantDb, runId: RunId): Promise<readonly JournalView[]> };
  readonly readTokens: ReadTokens;
  readonly settings: ApiSettings;
  readonly log: Logger;
}

interface ApiSettings {
  /** Base URL under which people reach this API, without a slash at the end. */
  readonly publicUrl: string;
  readonly graphiql: boolean;
  /** Where Temporal UI listens, e.g. `http://127.0.0.1:8233`; undefined: there is none. */
  readonly uiAddress: string | undefined;
}

/** Temporal tokens that may only read. undefined: the server behind takes none. */
interface ReadTokens {
  tenant(tenantId: TenantId): Promise<string | undefined>;
  system(): Promise<string | undefined>;
}

export interface ApprovalView {
  readonly id: string;
  readonly runId: RunId;
  readonly toolId: ToolId;
  readonly target: string;
  readonly rule: string;
  /** The exact arguments that an approval would allow, nothing else. */
  readonly arguments: Json;
  /** pending | approved | rejected */
  readonly state: string;
  readonly requestedBy: string;
  readonly approvers: readonly string[];
  readonly decidedBy: string | undefined;
  readonly decidedAt: Date | undefined;
  readonly reason: string | undefined;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

interface ApprovalDesk {
  list(
    db: TenantDb,
    page: {
      readonly first: number;
      readonly after?: string | undefined;
      readonly state?: string | undefined;
    },
  ): Promise<{ readonly nodes: readonly ApprovalView[]; readonly endCursor: string | undefined }>;
  /** @throws BulkheadError NOT_FOUND, INVALID_STATE (decided or expired), FORBIDDEN (not an approver) */
  decide(
    db: TenantDb,
    decision: {
      readonly approvalId: string;
      readonly decision: 'approved' | 'rejected';
      readonly decidedBy: string;
      readonly role: Role;
      readonly reason: string | undefined;
    },
  ): Promise<ApprovalView>;
}

export interface ToolView {
  readonly id: ToolId;
  readonly version: number;
  readonly enabled: boolean;
  readonly description: string;
  readonly adapter: string;
  readonly effect: string;
  readonly idempotency: string;
  readonly inputSchema: Json;
}

export interface JournalView {
  /** Place in the tenant's hash chain; undefined until it is sealed, usually within a second. */
  readonly seq: number | undefined;
  readonly kind: string;
  readonly key: string | undefined;
  readonly at: Date;
  readonly body: Json;
  /** Hex. */
  readonly hash: string | undefined;
}
