import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { BulkheadError } from '@bulkhead/contract';

const Documents = z.array(z.string().min(1)).min(1).max(10_000);

/** The documents of a JSON file, the only ones that are then answered. @throws BulkheadError WORKER_MISCONFIGURED */
export function readListedDocuments(file: string): ReadonlySet<string> {
  try {
    return new Set(Documents.parse(JSON.parse(readFileSync(file, 'utf8'))));
  } catch (cause) {
    throw new BulkheadError('WORKER_MISCONFIGURED', {
      internal: `${file} is not a JSON list of GraphQL documents`,
      cause,
    });
  }
}
