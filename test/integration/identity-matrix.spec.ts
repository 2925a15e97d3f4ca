import { readFile } from 'node:fs/promises';
import { buildSchema } from 'graphql';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PermissionCheck } from '@bulkhead/api/app';
import { ROLES } from '@bulkhead/tenancy/admin';
import { createOperatorKey } from '@bulkhead/tenancy/control';
import { ACME, firstEvent, startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';
import { rootFields } from '../support/schema-walk.js';
import type { RootField } from '../support/schema-walk.js';

const HOLDERS = [...ROLES, 'platform'] as const;
const FORBIDDEN = 'FORBIDDEN';

/** Every handler that needs a permission, asked by every role: what is refused is exactly what permissions.txt does not name. */
describe('each role at each handler', () => {
  let api: TestApi;
  let fields: RootField[];
  const keys = new Map<string, string>();
  const mayCall = new Map<string, readonly string[]>();

  beforeAll(async () => {
    api = await startApi();
    const sdl = await readFile(new URL('../../apps/api/schema.gql', import.meta.url), 'utf8');
    const permissions = await readFile(new URL('../../apps/api/permissions.txt', import.meta.url), 'utf8');
    const lines = permissions.matchAll(/^(\w+ [\w.]+): [\w-]+:[\w-]+ = (.*)$/gm);
    const roles = new Map(Array.from(lines, ([, name = '', holders = '']) => [name, holders]));
    for (const { name, field } of api.app.get(PermissionCheck).handlers()) {
      const kind = name.split(' ')[0];
      const holders = roles.get(name);
      if (holders !== undefined)
        mayCall.set(`${kind}.${field}`, holders.replaceAll(' (own)', '').split(', '));
    }
    fields = rootFields(buildSchema(sdl)).filter((root) => mayCall.has(root.full));
    for (const role of ROLES) keys.set(role, await api.key(ACME, role));
    keys.set('platform', (await createOperatorKey(api.deps.control, { name: 'op', createdBy: 'test' })).key);
  });
  afterAll(() => api?.close());

  const answer = async (root: RootField, key: string): Promise<string | undefined> => {
    if (root.kind !== 'subscription') {
      const { errors } = await api.ask(key, root.document, root.variables());
      return errors?.[0]?.extensions.code;
    }
    try {
      await firstEvent(api.subscribe(key, root.document, root.variables()));
      return undefined;
    } catch (error) {
      return (error as [{ extensions: { code: string } }])[0].extensions.code;
    }
  };

  it.each(HOLDERS)('%s', async (role) => {
    expect(fields.length).toBeGreaterThan(20);
    const seen: Record<string, boolean> = {};
    for (const root of fields) {
      seen[root.full] = (await answer(root, keys.get(role) ?? '')) !== FORBIDDEN;
    }
    const wanted = Object.fromEntries(
      fields.map(({ full }) => [full, mayCall.get(full)?.includes(role) ?? false]),
    );
    expect(seen).toEqual(wanted);
  });
});
