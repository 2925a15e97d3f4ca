/** Who wants to hear of what, by a key. Hints carry no content: whoever hears one reads again. */
export class Watchers {
  private readonly byKey = new Map<string, Set<() => void>>();

  /** Calls `onHint` at each hint about the key, until the returned function is called. */
  add(key: string, onHint: () => void): () => void {
    const set = this.byKey.get(key) ?? new Set();
    this.byKey.set(key, set.add(onHint));
    return () => {
      set.delete(onHint);
      if (set.size === 0 && this.byKey.get(key) === set) this.byKey.delete(key);
    };
  }

  /** @param keys undefined: it may be about anything, as after a time when nobody listened */
  tell(keys: readonly string[] | undefined): void {
    const sets = keys ? keys.map((key) => this.byKey.get(key)) : [...this.byKey.values()];
    for (const set of sets) for (const onHint of set ?? []) onHint();
  }
}
