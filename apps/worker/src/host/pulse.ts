import { z } from 'zod';
import type { HostId } from '@bulkhead/contract';
import type { TenantDoor } from '@bulkhead/prisma/tenant';

/** Without a beat for so long, this host stops invoking; the control process fences at 7 s, so it is always first. */
const SILENCE_MS_MAX = 5_000;
const BeatAnswer = z.object({ kind: z.enum(['ok', 'fenced']) });

export interface PulseDeps {
  readonly door: Pick<TenantDoor, 'host'>;
  readonly hostId: HostId;
  /** Monotonic milliseconds: a wall clock that is set back must not keep a silent host alive. */
  readonly nowMs: () => number;
  /** This host was fenced: others may have taken its work over. It must end, and its id never returns. */
  readonly onFenced: () => void;
}

export interface Pulse {
  /** Makes the host known; an id can be registered once. */
  register(): Promise<void>;
  /** Raises the beat. Call it each second. */
  beatOnce(): Promise<void>;
  /** Whether this host may send right now: asked immediately before the first byte of an effect leaves. */
  isAlive(): boolean;
}

export function createPulse({ door, hostId, nowMs, onFenced }: PulseDeps): Pulse {
  let lastBeatMs = Number.NEGATIVE_INFINITY;
  let fenced = false;
  return {
    async register() {
      const startedMs = nowMs();
      BeatAnswer.parse(await door.host('host_register', hostId));
      lastBeatMs = startedMs;
    },
    async beatOnce() {
      // counted from before the question: the beat may have been written at any time until the answer
      const startedMs = nowMs();
      const { kind } = BeatAnswer.parse(await door.host('host_beat', hostId));
      if (kind === 'ok') {
        lastBeatMs = startedMs;
        return;
      }
      fenced = true;
      onFenced();
    },
    isAlive: () => !fenced && nowMs() - lastBeatMs < SILENCE_MS_MAX,
  };
}
