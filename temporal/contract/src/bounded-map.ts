/** A map of at most `max` entries (1 or more): the one set longest ago makes room for a new one. */
export class BoundedMap<Key, Value> extends Map<Key, Value> {
  constructor(private readonly max: number) {
    super();
  }

  override set(key: Key, value: Value): this {
    this.delete(key); // the map's order is the order of setting
    for (const oldest of this.keys()) {
      if (this.size < this.max) break;
      this.delete(oldest);
    }
    return super.set(key, value);
  }
}
