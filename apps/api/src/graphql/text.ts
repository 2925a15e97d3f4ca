import { z } from 'zod';

/** A line that a person wrote. */
export const lineOf = (lengthMax: number): z.ZodType<string, string> =>
  z.string().trim().min(1).max(lengthMax);
