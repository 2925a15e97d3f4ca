import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { GraphQLSchemaBuilderModule, GraphQLSchemaFactory } from '@nestjs/graphql';
import { lexicographicSortSchema, printSchema } from 'graphql';
import { expect, it } from 'vitest';
import { ApprovalResolver } from '../approvals/approval.resolver.js';
import { RunResolver } from '../runs/run.resolver.js';
import { SignInResolver } from '../sign-in/sign-in.resolver.js';
import { TenantResolver } from '../tenants/tenant.resolver.js';
import { ToolResolver } from '../tools/tool.resolver.js';

const RESOLVERS = [ApprovalResolver, RunResolver, SignInResolver, TenantResolver, ToolResolver];

/** schema.gql is what clients build on: a change of it is reviewed as a change of the API. Update it with `vitest -u`. */
it('is the schema that stands in schema.gql', async () => {
  const app = await NestFactory.createApplicationContext(GraphQLSchemaBuilderModule, { logger: false });
  const schema = await app.get(GraphQLSchemaFactory).create(RESOLVERS);
  await expect(`${printSchema(lexicographicSortSchema(schema))}\n`).toMatchFileSnapshot('../../schema.gql');
  await app.close();
});
