/** Calls that come close together, made few. */
export interface Spaced {
  call(): void;
  /** Makes no more calls, not even one that waits. */
  close(): void;
}

/** Passes a call on at once, and of those that come within `ms` after it one, at the end of that time. */
export function spaced(pass: () => void, ms: number): Spaced {
  let timer: NodeJS.Timeout | undefined;
  let waits = false;
  const call = (): void => {
    waits = timer !== undefined;
    if (waits) return;
    timer = setTimeout(() => {
      timer = undefined;
      if (waits) call();
    }, ms).unref();
    pass();
  };
  return { call, close: () => clearTimeout(timer) };
}
