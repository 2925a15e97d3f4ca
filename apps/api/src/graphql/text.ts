import { z } from 'zod';
import { isStorable } from '@bulkhead/contract';

/** A line that a person wrote, which every column can hold. */
export const lineOf = (lengthMax: number): z.ZodType<string, string> =>
  z
    .string()
    .trim()
    .min(1)
    .max(lengthMax)
    .refine((text) => isStorable(JSON.stringify(text)), 'must be text without U+0000');
