import type { CallKey, TenantId } from '@bulkhead/contract';

/** What the database says about a call of this host: `abort` breaks it off, otherwise only what has not begun is kept back. */
export interface StoppedCall {
  readonly key: string;
  readonly abort: boolean;
}

/** One call, from before its admit until it is settled. */
export interface CallInFlight {
  /** Aborted when the call was stopped. */
  readonly signal: AbortSignal;
  /** Asked right before the first byte; after a yes, only an abort reaches the call. */
  maySend(): boolean;
  /** Whether a stop or a revocation reached this call: what came of it is asked anew. */
  stopped(): boolean;
  end(): void;
}

/** The calls that this host has under way. It is how a kill reaches a request that has already left. */
export interface InFlight {
  /** Register before admit: a stop that commits right after it must find the call here. */
  enter(tenantId: TenantId, key: CallKey): CallInFlight;
  /** Tenants that have calls under way. */
  tenants(): readonly TenantId[];
  /** Stops those of them that are under way here; others are none of this host's. */
  stop(tenantId: TenantId, calls: readonly StoppedCall[]): void;
}

class Entry implements CallInFlight {
  private readonly controller = new AbortController();
  private sent = false;
  constructor(private readonly leave: (entry: Entry) => void) {}

  get signal(): AbortSignal {
    return this.controller.signal;
  }
  maySend(): boolean {
    if (this.stopped()) return false;
    this.sent = true;
    return true;
  }
  stopped(): boolean {
    return this.controller.signal.aborted;
  }
  stop(abort: boolean): void {
    if (abort || !this.sent) this.controller.abort(new Error('the call was stopped'));
  }
  end(): void {
    this.leave(this);
  }
}

export function createInFlight(): InFlight {
  const tenants = new Map<TenantId, Map<string, Set<Entry>>>();

  const leave = (tenantId: TenantId, key: string, entry: Entry): void => {
    const calls = tenants.get(tenantId);
    const entries = calls?.get(key);
    entries?.delete(entry);
    if (entries?.size === 0) calls?.delete(key);
    if (calls?.size === 0) tenants.delete(tenantId);
  };

  return {
    enter(tenantId, key) {
      const entry = new Entry((ended) => leave(tenantId, key, ended));
      const calls = tenants.get(tenantId) ?? new Map<string, Set<Entry>>();
      tenants.set(tenantId, calls);
      // two attempts of one call may meet here: one holds the effect, the other one is about to be told so
      calls.set(key, (calls.get(key) ?? new Set<Entry>()).add(entry));
      return entry;
    },
    tenants: () => [...tenants.keys()],
    stop(tenantId, stopped) {
      const calls = tenants.get(tenantId);
      for (const { key, abort } of stopped) {
        for (const entry of calls?.get(key) ?? []) entry.stop(abort);
      }
    },
  };
}
