import { randomBytes } from 'node:crypto';

/** A value that occurs nowhere else in the world, so that wherever it is found it has leaked. */
export interface Canary {
  readonly tenant: string;
  /** What it was given as, e.g. the name of a secret. */
  readonly field: string;
  /** Where it was given to the product, e.g. one run. */
  readonly surface: string;
  readonly value: string;
}

export interface Canaries {
  /** A fresh one, unique per tenant, field and surface. @throws Error when that one was already made */
  make(tenant: string, field: string, surface: string): string;
  /** All of them by `tenant field surface`, as a scanner takes them. */
  byName(): Record<string, string>;
  readonly made: readonly Canary[];
}

export function createCanaries(): Canaries {
  const made: Canary[] = [];
  return {
    made,
    make(tenant, field, surface) {
      const known = (one: Canary): boolean =>
        one.tenant === tenant && one.field === field && one.surface === surface;
      if (made.some(known)) throw new Error(`${tenant} ${field} ${surface} has its canary`);
      const value = canaryValue();
      made.push({ tenant, field, surface, value });
      return value;
    },
    byName: () =>
      Object.fromEntries(
        made.map(({ tenant, field, surface, value }) => [`${tenant} ${field} ${surface}`, value]),
      ),
  };
}

/**
 * Printable ASCII, as a secret must be. The marks are written differently by each encoding; the second half has none, so
 * it is found however often the text around it was escaped.
 */
export const canaryValue = (): string => {
  const random = (bytes: number): string => randomBytes(bytes).toString('base64url');
  return `${random(9)}"\\/+%&${random(24)}`;
};
