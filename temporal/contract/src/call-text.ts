import { canonicalJson } from './canonical-json.js';
import type { Json } from './canonical-json.js';
import type { TenantId } from './ids.js';

/** What tells one effect from every other: no attempt, no Temporal run id. */
export interface CallIdentity {
  readonly tenantId: TenantId;
  readonly workflowId: string;
  readonly segment: number;
  readonly toolId: string;
  readonly args: Json;
  readonly n: number;
}

/** The text whose SHA-256 is the call key. @throws TypeError when the arguments have no canonical text. */
export const callText = ({ tenantId, workflowId, segment, toolId, args, n }: CallIdentity): string =>
  canonicalJson([tenantId, workflowId, segment, toolId, args, n]);

/** In place of arguments without a canonical text (a lone surrogate): the refusal of such a call needs a key, too. */
export const argsWithoutText = (args: Json): Json => ({ invalid: JSON.stringify(args).toWellFormed() });
