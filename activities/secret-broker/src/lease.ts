import { inspect } from 'node:util';

declare const leased: unique symbol;

/**
 * A credential in this process's memory, for one request. Only this room can make one. It has no readable property:
 * a log line, an error or a history that gets hold of it shows `[lease]`.
 */
export class Lease {
  declare readonly [leased]: true;
  #value: Buffer | undefined;

  /** @internal made by lease() only */
  constructor(
    value: Buffer,
    /** host[:port] each; the value may be sent to these and nowhere else. */
    readonly boundHosts: readonly string[],
  ) {
    this.#value = value;
  }

  /** @throws Error once the lease has ended. */
  reveal(): string {
    if (!this.#value) throw new Error('the lease has ended');
    return this.#value.toString('utf8');
  }

  /** Wipes the value; call it when the request has ended. */
  end(): void {
    this.#value?.fill(0);
    this.#value = undefined;
  }

  toJSON(): string {
    return '[lease]';
  }
  toString(): string {
    return '[lease]';
  }
  [inspect.custom](): string {
    return '[lease]';
  }
}
