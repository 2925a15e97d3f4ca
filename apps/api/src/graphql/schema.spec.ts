import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { GraphQLSchemaBuilderModule, GraphQLSchemaFactory } from '@nestjs/graphql';
import { isObjectType, lexicographicSortSchema, printSchema } from 'graphql';
import type { GraphQLSchema } from 'graphql';
import { expect, it } from 'vitest';
import { ApprovalResolver } from '../approvals/approval.resolver.js';
import { AuditResolver } from '../audit/audit.resolver.js';
import { KeyResolver } from '../keys/key.resolver.js';
import { MemberResolver } from '../members/member.resolver.js';
import { ControlResolver } from '../control/control.resolver.js';
import { LifecycleResolver } from '../lifecycle/lifecycle.resolver.js';
import { PolicyResolver } from '../policies/policy.resolver.js';
import { QuotaResolver } from '../quotas/quota.resolver.js';
import { RunControlResolver } from '../run-control/run-control.resolver.js';
import { RunResolver } from '../runs/run.resolver.js';
import { SecretResolver } from '../secrets/secret.resolver.js';
import { SignInResolver } from '../sign-in/sign-in.resolver.js';
import { TenantKeyResolver } from '../tenant-keys/tenant-key.resolver.js';
import { TenantResolver } from '../tenants/tenant.resolver.js';
import { ToolResolver } from '../tools/tool.resolver.js';
import { WorkspaceResolver } from '../workspaces/workspace.resolver.js';

const RESOLVERS = [
  ApprovalResolver,
  AuditResolver,
  KeyResolver,
  MemberResolver,
  ControlResolver,
  LifecycleResolver,
  PolicyResolver,
  QuotaResolver,
  RunControlResolver,
  RunResolver,
  SecretResolver,
  SignInResolver,
  TenantKeyResolver,
  TenantResolver,
  ToolResolver,
  WorkspaceResolver,
];

const PROPERTY = 'graphql:resolve_property';

async function schemaOf(): Promise<GraphQLSchema> {
  const app = await NestFactory.createApplicationContext(GraphQLSchemaBuilderModule, { logger: false });
  const schema = await app.get(GraphQLSchemaFactory).create(RESOLVERS);
  await app.close();
  return schema;
}

/** schema.gql is what clients build on: a change of it is reviewed as a change of the API. Update it with `vitest -u`. */
it('is the schema that stands in schema.gql', async () => {
  const schema = await schemaOf();
  await expect(`${printSchema(lexicographicSortSchema(schema))}\n`).toMatchFileSnapshot('../../schema.gql');
});

/** Such a method runs for each object of a list: whether it reads the database must be known to the cost of a query. */
it('has a cost on each field with a method of its own (`complexity` in its decorator: READ or 1)', async () => {
  const methods = RESOLVERS.flatMap(({ prototype }) =>
    Object.getOwnPropertyNames(prototype)
      .map((name) => Reflect.get(prototype, name) as unknown)
      .filter((method): method is () => unknown => typeof method === 'function')
      .filter((method) => Reflect.getMetadata(PROPERTY, method) !== undefined)
      .map((method) => method.name),
  );
  expect(methods).toContain('journal');
  const fields = Object.values((await schemaOf()).getTypeMap())
    .filter(isObjectType)
    .flatMap((type) => Object.values(type.getFields()));
  const silent = fields.filter(
    ({ name, extensions }) => methods.includes(name) && extensions['complexity'] === undefined,
  );
  expect(silent.map(({ name }) => name)).toEqual([]);
});
