import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { HostId, TenantId } from '@bulkhead/contract';
import { createTokenWriter } from '@bulkhead/runtime/tokens';
import type { TokenMinter, TokenRole, TokenWriter } from '@bulkhead/runtime/tokens';

export interface TokenIssuerOptions {
  /** `api/` in it is the API's folder, `hosts/<id>/` one host's: each process sees its own only. */
  readonly dir: string;
  readonly minter: TokenMinter;
  readonly ttlSeconds: number;
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

/** Who is to be served by whom, and which key signs now. */
export interface Assignment {
  readonly tenants: readonly TenantId[];
  readonly hosts: readonly HostId[];
  /** Generation of the key per tenant, and of the platform's own. */
  readonly generationOf: (owner: TenantId | undefined) => number | undefined;
}

export interface TokenIssuer {
  /**
   * Leaves exactly the tokens of this assignment in the folder. One that is signed by an older key, or has spent half of
   * its life, is replaced; one of a tenant or host that is not assigned any more is removed.
   */
  issueOnce(assignment: Assignment): Promise<void>;
}

interface Minted {
  readonly generation: number;
  readonly atMs: number;
}

/** Mints what hosts and API may hold: `write` for hosts (polling needs it), `read` for the API. */
export function createTokenIssuer({ dir, minter, ttlSeconds, nowMs }: TokenIssuerOptions): TokenIssuer {
  /** What this process wrote, by folder and tenant. What an earlier one left is of unknown age, so it is replaced. */
  const minted = new Map<string, Minted>();
  const isFresh = (name: string, generation: number): boolean => {
    const known = minted.get(name);
    return known?.generation === generation && nowMs() - known.atMs < ttlSeconds * 500;
  };
  const renew = async (name: string, generation: number, write: () => Promise<void>): Promise<void> => {
    if (isFresh(name, generation)) return;
    const atMs = nowMs();
    await write();
    minted.set(name, { generation, atMs });
  };

  const fill = async (
    folder: string,
    writer: TokenWriter,
    assignment: Assignment,
    holder: { readonly role: TokenRole; readonly name: string },
  ): Promise<void> => {
    const { tenants, generationOf } = assignment;
    const wanted = new Set(tenants.filter((tenantId) => generationOf(tenantId) !== undefined));
    const there = new Set(await writer.tenants(holder.role));
    for (const tenantId of there) {
      if (wanted.has(tenantId)) continue;
      await writer.remove(tenantId, holder.role);
      minted.delete(`${folder}/${tenantId}`);
    }
    for (const tenantId of wanted) {
      if (!there.has(tenantId)) minted.delete(`${folder}/${tenantId}`); // somebody deleted it
      const token = (): string => minter.tenant(tenantId, holder.role, holder.name);
      await renew(`${folder}/${tenantId}`, generationOf(tenantId) ?? 0, () =>
        writer.tenant(tenantId, holder.role, token()),
      );
    }
  };

  return {
    async issueOnce(assignment) {
      const api = createTokenWriter({ dir: join(dir, 'api') });
      const system = assignment.generationOf(undefined);
      if (system !== undefined) {
        await renew('_system', system, () => api.system('read', minter.system('read')));
      }
      await fill('api', api, assignment, { role: 'read', name: 'api' });
      for (const host of assignment.hosts) {
        const writer = createTokenWriter({ dir: join(dir, 'hosts', host) });
        await fill(host, writer, assignment, { role: 'write', name: `host:${host}` });
      }
      await removeStrangers(join(dir, 'hosts'), assignment.hosts);
    },
  };
}

/** Folders of hosts that are fenced: such an id never returns. */
async function removeStrangers(dir: string, hosts: readonly HostId[]): Promise<void> {
  const names = await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []; // no host was there yet
    throw error;
  });
  for (const name of names) {
    if (!hosts.includes(name as HostId)) await rm(join(dir, name), { recursive: true, force: true });
  }
}
