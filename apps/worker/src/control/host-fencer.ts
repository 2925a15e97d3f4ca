import type { ControlDb } from '@bulkhead/prisma/control';

/** A host stops by itself 5 s after its last beat; from 7 s on nothing of it can still act, so others may take over. */
const SILENCE_MS_MAX = 7_000;
/** When we could not look for so long, nobody could beat either: start to count anew. */
const BLIND_MS_MAX = 3_000;

export interface HostFencerDeps {
  readonly control: Pick<ControlDb, 'query'>;
  readonly log: { warn(fields: object, message: string): void };
  /** Monotonic milliseconds. */
  readonly nowMs: () => number;
}

export interface HostFencer {
  /** Fences every host whose beat has stood still for 7 s of watching. Call it each second. Returns whom it fenced. */
  fenceOnce(): Promise<string[]>;
}

/** Judges hosts by how their beat moves on this process's own clock: no clocks are compared, no process is asked. */
export function createHostFencer({ control, log, nowMs }: HostFencerDeps): HostFencer {
  let seen = new Map<string, { readonly beat: string; readonly since: number }>();
  let lookedAt = Number.NEGATIVE_INFINITY;

  const silent = (hosts: readonly { id: string; beat: string }[], now: number): string[] => {
    const blind = now - lookedAt > BLIND_MS_MAX;
    lookedAt = now;
    const next = new Map<string, { beat: string; since: number }>();
    for (const { id, beat } of hosts) {
      const known = blind ? undefined : seen.get(id);
      next.set(id, known?.beat === beat ? known : { beat, since: now });
    }
    seen = next;
    return [...next].filter(([, { since }]) => now - since >= SILENCE_MS_MAX).map(([id]) => id);
  };

  return {
    async fenceOnce() {
      const hosts = await control.query<{ id: string; beat: string }>(
        'SELECT id, beat::text FROM hosts WHERE NOT fenced',
      );
      const fenced: string[] = [];
      for (const host of silent(hosts, nowMs())) {
        // only while the beat that we judged is still the last one
        const rows = await control.query<{ id: string }>(
          'UPDATE hosts SET fenced = true WHERE id = $1 AND beat = $2::bigint AND NOT fenced RETURNING id',
          [host, seen.get(host)?.beat],
        );
        if (rows.length === 0) continue;
        log.warn({ host }, 'host is silent and was fenced');
        fenced.push(host);
      }
      return fenced;
    },
  };
}
