import { z } from 'zod';

/** Page size of lists: 1 to 100, 20 unless told. */
export const First = z.int().min(1).max(100).default(20);
/** Opaque to clients; checked by the list that made it. */
export const After = z.string().min(1).max(200).nullish();
