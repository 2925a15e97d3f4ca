import { Inject, Injectable } from '@nestjs/common';
import { BulkheadError, buildRevocationId } from '@bulkhead/contract';
import { newUlid } from '@bulkhead/runtime/ulid';
import {
  changeSecret,
  liftRevocation,
  listRevocations,
  listSecrets,
  revokeSecrets,
} from '@bulkhead/secret-broker/admin';
import type {
  Revocation,
  RevocationInfo,
  RevocationOrder,
  SecretInfo,
  SecretRules,
} from '@bulkhead/secret-broker/admin';
import type { Principal } from '../auth/principal.js';
import { API_DEPS } from '../deps.js';
import type { ApiDeps } from '../deps.js';

/** What a mutation gives; what is left out stays as it is. */
export interface SecretChange {
  readonly name: string;
  readonly value: unknown;
  readonly rules: { readonly [K in keyof SecretRules]: SecretRules[K] | null | undefined };
  readonly reason: string;
}
export interface RuleChangeRequest extends Omit<SecretChange, 'value'> {
  readonly anyAgent: boolean;
  readonly anyTool: boolean;
}
export type RevocationRequest = Pick<
  RevocationOrder,
  'scope' | 'secret' | 'version' | 'target' | 'dryRun' | 'reason'
>;

const ANSWER_MS = 1_000;

@Injectable()
export class SecretService {
  constructor(
    @Inject(API_DEPS) private readonly deps: Pick<ApiDeps, 'controlDoor' | 'door' | 'secrets' | 'settings'>,
  ) {}

  /** @throws BulkheadError BAD_INPUT, INVALID_STATE */
  async create(principal: Principal, change: SecretChange): Promise<SecretInfo> {
    const { access, boundHosts, purpose, ...users } = given(change.rules);
    const rules = {
      access: access ?? 'read',
      boundHosts: boundHosts ?? [],
      purpose: purpose ?? '',
      ...users,
    };
    const secret = { name: change.name, value: valueOf(change), ...rules };
    await this.deps.secrets.create(this.db(principal), secret, by(principal, change));
    return this.one(principal, change.name);
  }

  /** @throws BulkheadError NOT_FOUND, BAD_INPUT, INVALID_STATE */
  async rotate(principal: Principal, change: SecretChange): Promise<SecretInfo> {
    const secret = { name: change.name, value: valueOf(change), ...given(change.rules) };
    await this.deps.secrets.rotate(this.db(principal), secret, by(principal, change));
    return this.one(principal, change.name);
  }

  /** @throws BulkheadError NOT_FOUND, BAD_INPUT */
  async change(
    principal: Principal,
    { name, rules, anyAgent, anyTool, ...why }: RuleChangeRequest,
  ): Promise<SecretInfo> {
    if (anyAgent && rules.agents) throw bothGiven('agents');
    if (anyTool && rules.tools) throw bothGiven('tools');
    const change = {
      ...given(rules),
      ...(anyAgent ? { agents: null } : {}),
      ...(anyTool ? { tools: null } : {}),
    };
    await changeSecret(this.db(principal), name, change, by(principal, why));
    return this.one(principal, name);
  }

  /** @throws BulkheadError NOT_FOUND, BAD_INPUT */
  revoke(principal: Principal, request: RevocationRequest): Promise<Revocation> {
    const { tenantId, actor } = principal;
    const id = buildRevocationId(tenantId, newUlid(Date.now()));
    const boundMs = Math.max(0, this.deps.settings.requestMs - ANSWER_MS);
    const db = request.dryRun ? this.db(principal) : this.deps.controlDoor.tenant(tenantId);
    return revokeSecrets(db, { ...request, id, actor, boundMs });
  }

  /** @throws BulkheadError NOT_FOUND, INVALID_STATE */
  async lift(principal: Principal, id: string, reason: string): Promise<RevocationInfo> {
    await liftRevocation(this.deps.controlDoor.tenant(principal.tenantId), {
      id,
      reason,
      actor: principal.actor,
    });
    const lifted = (await this.revocations(principal)).find((revocation) => revocation.id === id);
    if (!lifted) throw new BulkheadError('NOT_FOUND', { field: 'id' });
    return lifted;
  }

  list(principal: Principal): Promise<readonly SecretInfo[]> {
    return listSecrets(this.db(principal));
  }

  revocations(principal: Principal): Promise<readonly RevocationInfo[]> {
    return listRevocations(this.db(principal));
  }

  private async one(principal: Principal, name: string): Promise<SecretInfo> {
    const secret = (await this.list(principal)).find((known) => known.name === name);
    if (!secret) throw new BulkheadError('NOT_FOUND', { field: 'name' });
    return secret;
  }

  /** For whoever looks or writes; the connections kept for revocations are for nobody else. */
  private db(principal: Principal) {
    return this.deps.door.tenant(principal.tenantId);
  }
}

const by = ({ actor }: Principal, { reason }: Pick<SecretChange, 'reason'>) => ({ actor, reason });

/** Only a text can be a value; what else was sent is not quoted. */
function valueOf({ value }: SecretChange): string {
  if (typeof value === 'string') return value;
  throw new BulkheadError('BAD_INPUT', { field: 'value', publicMessage: 'value is not valid for a secret.' });
}

function given(rules: SecretChange['rules']): Partial<SecretRules> {
  const { access, boundHosts, purpose, agents, tools } = rules;
  return {
    ...(access ? { access } : {}),
    ...(boundHosts ? { boundHosts } : {}),
    ...(purpose === null || purpose === undefined ? {} : { purpose }),
    ...(agents ? { agents } : {}),
    ...(tools ? { tools } : {}),
  };
}

const bothGiven = (field: string): BulkheadError =>
  new BulkheadError('BAD_INPUT', { field, publicMessage: `${field}: give a list or say any, not both` });
