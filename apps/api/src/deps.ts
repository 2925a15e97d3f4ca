import type { Logger } from 'pino';
import type { Json, RunId, SealArguments, TenantId } from '@bulkhead/contract';
import type { ContentRead, DecodeNote, JournalEntry } from '@bulkhead/journal/admin';
import type { Approval, ApprovalPage, StandingApproval } from '@bulkhead/policy/admin';
import type { ControlDb } from '@bulkhead/prisma/control';
import type { Prisma, TenantDb, TenantDoor } from '@bulkhead/prisma/tenant';
import type { AcceptRun } from '@bulkhead/runs/admin';
import type { Payload } from '@bulkhead/runtime/codec';
import type { By, SecretRules } from '@bulkhead/secret-broker/admin';
import type { Role, TenantKeys } from '@bulkhead/tenancy/admin';
import type { Identify } from './auth/issuers.js';
import type { ToolInfo } from '@bulkhead/tool-gateway/admin';

/** Injection token of ApiDeps: everything the API needs from outside, composed once in compose.ts. */
export const API_DEPS = Symbol('ApiDeps');

export interface ApiDeps {
  readonly door: TenantDoor;
  /** The same with connections of its own: who stops something must not queue behind the calls that are to be stopped. */
  readonly controlDoor: TenantDoor;
  /** For authentication, sessions and the run feed only; everything else goes through the tenant door. */
  readonly control: ControlDb;
  /** Checks tokens of the configured issuers. */
  readonly identify: Identify;
  readonly acceptRun: AcceptRun;
  readonly payloads: Payloads;
  /** Makes the wrapped key of a new tenant. */
  readonly tenantKeys: TenantKeys;
  readonly approvals: ApprovalDesk;
  readonly secrets: SecretDesk;
  readonly tools: { list(db: TenantDb): Promise<readonly ToolInfo[]> };
  readonly journal: {
    list(db: TenantDb, runId: RunId): Promise<readonly JournalEntry[]>;
    noteDecode(db: TenantDb, decode: DecodeNote): Promise<void>;
    noteReads(db: TenantDb, actor: string, reads: readonly ContentRead[]): Promise<void>;
  };
  readonly readTokens: ReadTokens;
  readonly settings: ApiSettings;
  readonly log: Logger;
}

/** The tenant's Temporal payloads: what goes into a history is sealed here, what came out of one is opened here. */
interface Payloads {
  /** For a start or a signal; store and order only what this returns. */
  readonly sealArguments: SealArguments;
  /** @throws BulkheadError PAYLOAD_REFUSED when it is not this tenant's, KEY_DESTROYED */
  open(tenantId: TenantId, sealed: Json): Promise<Json>;
  /** Opens payloads as they stand in a history; what is not sealed stays as it is. @throws as `open` does */
  decode(tenantId: TenantId, payloads: readonly Payload[]): Promise<Payload[]>;
}

export interface ApiSettings {
  /** Base URL under which people reach this API, without a slash at the end. */
  readonly publicUrl: string;
  readonly graphiql: boolean;
  /** Whether the schema may be asked for. */
  readonly introspection: boolean;
  /** The only documents that are answered; undefined: any within the limits. */
  readonly documents?: ReadonlySet<string> | undefined;
  /** Milliseconds in which a request is answered, or told that it was not. */
  readonly requestMs: number;
  /** Subscriptions, and connections, that one tenant and one caller may have open at once. */
  readonly subscriptions: { readonly perTenant: number; readonly perCaller: number };
  /** Documents refused before they are carried out, per key or token; then its requests wait. */
  readonly refusalsPerMinute: number;
  /** Requests to the codec server, per caller. */
  readonly decodesPerMinute: number;
  /** Where Temporal UI listens, e.g. `http://127.0.0.1:8233`; undefined: there is none. */
  readonly uiAddress: string | undefined;
}

/** Temporal tokens that may only read. undefined: the server behind takes none. */
interface ReadTokens {
  tenant(tenantId: TenantId): Promise<string | undefined>;
  system(): Promise<string | undefined>;
}

/** Values go in here and never come out. */
interface SecretDesk {
  /** @throws BulkheadError BAD_INPUT, INVALID_STATE */
  create(db: TenantDb, secret: SecretRules & Named, by: By): Promise<{ readonly version: number }>;
  /** @throws BulkheadError NOT_FOUND, BAD_INPUT, INVALID_STATE */
  rotate(db: TenantDb, change: Partial<SecretRules> & Named, by: By): Promise<{ readonly version: number }>;
}
interface Named {
  readonly name: string;
  readonly value: string;
}

interface ApprovalDesk {
  list(
    db: TenantDb,
    page: ApprovalPage,
  ): Promise<{ readonly nodes: readonly Approval[]; readonly endCursor: string | undefined }>;
  /** Those named, or without `ids` those that are pending: the newest 100, with nothing of what was asked. */
  standing(
    db: TenantDb,
    which: { readonly ids?: readonly string[]; readonly within: Prisma.ApprovalWhereInput },
  ): Promise<readonly StandingApproval[]>;
  find(db: TenantDb, id: string, within: Prisma.ApprovalWhereInput): Promise<Approval | undefined>;
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
    within: Prisma.ApprovalWhereInput,
  ): Promise<Approval>;
}
