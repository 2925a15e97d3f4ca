/** Ends a statement whose CTE `moved` has a row when the run $2 of tenant $1 has changed: whoever watches it looks again. */
export const NOTIFY = `SELECT pg_notify('bulkhead_runs', json_build_array(json_build_object('tenantId', $1::text, 'runId', $2::text))::text) FROM moved`;

/** What may be logged of an error: its message can quote anything. */
export const nameOf = (error: unknown): string => (error instanceof Error ? error.name : 'unknown');
