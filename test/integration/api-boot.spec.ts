import { Controller, Get, Module } from '@nestjs/common';
import { Mutation, Query, Resolver, Subscription } from '@nestjs/graphql';
import { lexicographicSortSchema, printSchema } from 'graphql';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApi, PermissionCheck } from '@bulkhead/api/app';
import { DOORS } from '../../apps/api/src/auth/doors.js';
import { startApi } from '../support/api.js';
import type { TestApi } from '../support/api.js';

@Resolver()
class SilentQuery {
  @Query(() => String)
  silentQuery(): string {
    return 'everyone could read this';
  }
}
@Resolver()
class SilentMutation {
  @Query(() => String)
  @Reflect.metadata('bulkhead:permission', { needs: 'run:read' })
  declared(): string {
    return 'a schema needs one query';
  }
  @Mutation(() => String)
  silentMutation(): string {
    return 'everyone could do this';
  }
}
@Resolver()
class SilentSubscription {
  @Query(() => String)
  @Reflect.metadata('bulkhead:permission', { needs: 'run:read' })
  declared(): string {
    return 'a schema needs one query';
  }
  @Subscription(() => String)
  silentSubscription(): string {
    return 'everyone could watch this';
  }
}
@Controller()
class SilentRoute {
  @Get('silent')
  silentRoute(): string {
    return 'everyone could fetch this';
  }
}
@Module({ providers: [SilentQuery] })
class SilentQueryModule {}
@Module({ providers: [SilentMutation] })
class SilentMutationModule {}
@Module({ providers: [SilentSubscription] })
class SilentSubscriptionModule {}
@Module({ controllers: [SilentRoute] })
class SilentRouteModule {}

describe('booting the API', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startApi();
  });
  afterAll(() => api?.close());

  it.each([
    [SilentQueryModule, 'Query SilentQuery.silentQuery'],
    [SilentMutationModule, 'Mutation SilentMutation.silentMutation'],
    [SilentSubscriptionModule, 'Subscription SilentSubscription.silentSubscription'],
    [SilentRouteModule, 'Route SilentRoute.silentRoute'],
  ])('fails with a handler that says nothing about who may call it (%o)', async (module, name) => {
    await expect(createApi(api.deps, [module])).rejects.toThrow(name);
  });

  it('gives each handler the permission in permissions.txt: a change there is a change of who may do what', async () => {
    const lines = api.app
      .get(PermissionCheck)
      .handlers()
      .map(({ name, open }) => `${name}: ${open}`)
      .toSorted();
    expect(lines.length).toBeGreaterThan(12);
    await expect(`${lines.join('\n')}\n`).toMatchFileSnapshot('../../apps/api/permissions.txt');
  });

  it('serves no path that is no declared handler', () => {
    const server = api.app.getHttpAdapter().getInstance() as unknown as {
      printRoutes(options: { commonPrefix: boolean }): string;
    };
    const served = server.printRoutes({ commonPrefix: false }).matchAll(/── (\S+) \(/g);
    const paths = new Set(Array.from(served, ([, path]) => path));
    // `*` is below /temporal
    const ofHandlers = ['/graphiql', '/healthz', '/readyz', '/sign-in', '/temporal', '*'];
    expect(paths).toEqual(new Set([...ofHandlers, ...Object.keys(DOORS)]));
  });

  it('serves the schema that stands in schema.gql', async () => {
    const { graphql } = api.app.getHttpAdapter().getInstance() as unknown as {
      graphql: { schema: Parameters<typeof printSchema>[0] };
    };
    const committed = await readFile(new URL('../../apps/api/schema.gql', import.meta.url), 'utf8');
    expect(`${printSchema(lexicographicSortSchema(graphql.schema))}\n`).toBe(committed);
  });
});
