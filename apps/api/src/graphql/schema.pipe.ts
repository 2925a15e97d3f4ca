import type { PipeTransform } from '@nestjs/common';
import type { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';

/** Parses one argument with zod; the error names the field as a dotted path that starts at the argument. */
export class SchemaPipe<S extends z.ZodType> implements PipeTransform<unknown, z.infer<S>> {
  constructor(
    private readonly argument: string,
    private readonly schema: S,
  ) {}

  transform(value: unknown): z.infer<S> {
    const parsed = this.schema.safeParse(value);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    const field = [this.argument, ...(issue?.path ?? [])].map(String).join('.');
    throw new BulkheadError('BAD_INPUT', {
      field,
      publicMessage: `${field}: ${issue?.message ?? 'not valid'}`,
    });
  }
}
