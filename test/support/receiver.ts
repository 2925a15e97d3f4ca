/** One request as the receiving side saw it. */
export interface Received {
  /** What the call was about, chosen by whoever made it: one per call, the same in each repeat. */
  readonly ref: string;
  readonly key: string | undefined;
  /** Milliseconds of the epoch. */
  readonly at: number;
  /** false: the receiver knew the key and only answered again. */
  readonly acted: boolean;
}

/** The books of a receiver of effects: it keeps every request, and acts once per key if it honours keys. */
export interface Receiver {
  readonly log: Received[];
  /** Books one request; returns whether it acts. */
  book(ref: string, key: string | undefined): boolean;
}

export function createReceiver({ honoursKeys }: { readonly honoursKeys: boolean }): Receiver {
  const log: Received[] = [];
  const known = new Set<string>();
  return {
    log,
    book(ref, key) {
      const acted = !(honoursKeys && key !== undefined && known.has(key));
      if (key !== undefined) known.add(key);
      log.push({ ref, key, at: performance.timeOrigin + performance.now(), acted });
      return acted;
    },
  };
}
