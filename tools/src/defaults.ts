/** Images of docker-compose.yml; the versions are those of the local launch. Dockerfile builds ours on `node`. */
export const IMAGES = {
  node: 'node:24.21.0-bookworm-slim',
  postgres: 'postgres:18.4-bookworm',
  temporal: 'temporalio/server:1.32.1',
  temporalTools: 'temporalio/admin-tools:1.32.1',
  temporalUi: 'temporalio/ui:2.55.0',
} as const;

/** Where each service listens inside the networks of docker-compose.yml; only the API is published. */
export const SERVICES = {
  api: { host: 'api', port: 4000 },
  postgres: { host: 'postgres', port: 5432 },
  temporal: { host: 'temporal', port: 7233 },
  temporalUi: { host: 'temporal-ui', port: 8080 },
} as const;

/**
 * Folders inside the containers. `own` is another volume in each: a process finds there its configuration and the keys
 * that it may have, and nothing of the others. `handout` is where the set-up sees all of those volumes.
 */
export const FOLDERS = {
  installation: '/var/lib/bulkhead',
  apiTokens: '/var/lib/bulkhead/tokens/api',
  hostTokens: '/var/lib/bulkhead/tokens/hosts',
  temporalKeys: '/var/lib/bulkhead/temporal-keys',
  hostData: '/var/lib/bulkhead/host',
  handout: '/run/bulkhead/handout',
  own: '/run/bulkhead/own',
} as const;
