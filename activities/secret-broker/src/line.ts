import { performance } from 'node:perf_hooks';
import { z } from 'zod';
import { BulkheadError, buildGrantId, TenantCache } from '@bulkhead/contract';
import type { Envelope, GrantAnswer, GrantRequest, TenantId } from '@bulkhead/contract';
import { isAdmission } from '@bulkhead/journal/line';
import type { Admission } from '@bulkhead/journal/line';
import type { TenantDoor } from '@bulkhead/prisma/tenant';
import type { KeyRing } from '@bulkhead/runtime/keys';
import { openSecret } from './crypto.js';
import { Lease } from './lease.js';
import { storedSecret } from './stored-secret.js';
import type { StoredSecret } from './stored-secret.js';

export { createImportLeases } from './import-lease.js';
export type { ImportLeases, LeaseRefusal } from './import-lease.js';
export type { Lease } from './lease.js';

export interface SecretBrokerDeps {
  readonly door: Pick<TenantDoor, 'tenant'>;
  readonly keyRing: Pick<KeyRing, 'open' | 'check'>;
  /** A fresh ULID, lower case. */
  readonly newUlid: () => string;
  /** Monotonic milliseconds; the default is the process clock. */
  readonly nowMs?: () => number;
}

export interface SecretBroker {
  /** Which credential may this run use for this tool: a grant, none needed, or a refusal, which is journalled. */
  secretBroker(envelope: Envelope, request: GrantRequest): Promise<GrantAnswer>;
  /**
   * The credential that admit has just confirmed, for one request. undefined: the tool uses none.
   * @throws BulkheadError INTERNAL for a ticket that the journal did not make, or that is settled; SECRET_UNAVAILABLE
   * when the credential cannot be opened or was revoked meanwhile, KEY_UNAVAILABLE when none of the tenant's can, KEY_DESTROYED
   */
  lease(admission: Admission): Promise<Lease | undefined>;
}

type AdmittedSecret = NonNullable<Admission['secret']>;

/** Written only where it is so: the answer stands in the history of every run. */
const expensive = z.literal(true).optional();

/** What the function of the database answers; anything else is a bug and throws. */
const GrantAnswerSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none'), expensive }),
  z.strictObject({
    kind: z.literal('grant'),
    grantId: z.string(),
    system: z.string(),
    access: z.enum(['read', 'mutate']),
    expensive,
  }),
  z.strictObject({
    kind: z.literal('denied'),
    reason: z.strictObject({ message: z.string(), layer: z.literal('credentials') }),
  }),
]);

/** Ciphertext only, and only briefly: admit has checked revocation, and shredding must bite soon. */
const CACHE_MS = 30_000;
const CACHE_MAX = 1_000;

export function createSecretBroker(deps: SecretBrokerDeps): SecretBroker {
  const nowMs = deps.nowMs ?? (() => performance.now());
  const cache = new TenantCache<StoredSecret>({ max: CACHE_MAX, freshMs: CACHE_MS, nowMs });

  const read = async (
    tenantId: TenantId,
    { name, version, rules }: AdmittedSecret,
  ): Promise<StoredSecret> => {
    cache.delete(tenantId, [name, version, rules]);
    const stored = await deps.door.tenant(tenantId).run((tx) => storedSecret(tx, tenantId, name, version));
    cache.set(tenantId, [name, version, rules], stored);
    return stored;
  };

  /** A key that is damaged beside one that does is the credential's trouble: waiting brings nothing back. */
  const onlyThisOne = async (tenantId: TenantId, error: unknown): Promise<never> => {
    if (!(error instanceof BulkheadError) || error.code !== 'KEY_UNAVAILABLE') throw error;
    await deps.keyRing.check(tenantId);
    throw new BulkheadError('SECRET_UNAVAILABLE', { internal: error.message, cause: error });
  };

  return {
    secretBroker: async (envelope, { toolId }) => {
      const { tenantId, runId } = envelope;
      const newGrantId = buildGrantId(tenantId, deps.newUlid());
      const answer = await deps.door.tenant(tenantId).call('grant_secret', { runId, toolId, newGrantId });
      return GrantAnswerSchema.parse(answer) as GrantAnswer;
    },
    async lease(admission) {
      // whoever calls: a credential goes to the attempt that the ledger admitted, of that tenant and call, on this host
      if (!isAdmission(admission))
        throw new BulkheadError('INTERNAL', { internal: 'the journal did not make this admission' });
      if (!admission.secret) return undefined;
      const { tenantId } = admission;
      const { name, version, rules } = admission.secret;
      // with the number of its rules: hosts that were taken from it must not be remembered
      const known = cache.get(tenantId, [name, version, rules]);
      const stored = known?.fresh ? known.value : await read(tenantId, admission.secret);
      try {
        const value = await openSecret(deps.keyRing, { tenantId, name, version }, stored).catch(
          (error: unknown) => onlyThisOne(tenantId, error),
        );
        return new Lease(value, stored.boundHosts);
      } catch (error) {
        // a row that is put right again must not stay what was remembered of it
        cache.delete(tenantId, [name, version, rules]);
        throw error;
      }
    },
  };
}
