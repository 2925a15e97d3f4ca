import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';

const HOST = z.string().max(260).refine(isHost, 'must be host or host:port, in lower case');
const USERS = z.array(z.string().min(1).max(200)).min(1).max(100);

/** As a person gives them. */
export const Rules = z.strictObject({
  access: z.enum(['read', 'mutate']),
  boundHosts: z.array(HOST).min(1).max(20),
  purpose: z.string().max(500),
  agents: USERS.optional(),
  tools: USERS.optional(),
});
/** Where a secret may be sent, and for whom it may be used. */
export type SecretRules = z.infer<typeof Rules>;

/** Who did it and why. */
export interface By {
  readonly actor: string;
  readonly reason: string;
}

/** Names the field and never quotes what was given for it. */
export function badSecret(error: z.ZodError): BulkheadError {
  const field = error.issues[0]?.path.join('.') ?? 'secret';
  return new BulkheadError('BAD_INPUT', { field, publicMessage: `${field} is not valid for a secret.` });
}

function isHost(text: string): boolean {
  const url = URL.parse(`http://${text}`);
  return url !== null && url.pathname === '/' && !/[/?#@]/.test(text) && text === text.toLowerCase();
}
