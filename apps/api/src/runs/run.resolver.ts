import { Inject } from '@nestjs/common';
import {
  Args,
  Context,
  ID,
  Int,
  Mutation,
  Parent,
  Query,
  ResolveField,
  Resolver,
  Subscription,
} from '@nestjs/graphql';
import { z } from 'zod';
import type { Json, RunId, RunState } from '@bulkhead/contract';
import type { Page, Run } from '@bulkhead/runs/admin';
import { Permission } from '../auth/permission.js';
import { CurrentPrincipal } from '../auth/principal.js';
import type { Principal, RequestContext } from '../auth/principal.js';
import type { JournalEntry as JournalEntryView } from '@bulkhead/journal/admin';
import { READ } from '../graphql/cost.js';
import { JsonScalar } from '../graphql/json.scalar.js';
import { After, First } from '../graphql/page.js';
import { SchemaPipe } from '../graphql/schema.pipe.js';
import { StartRun, StartRunInput } from './run.input.js';
import { JournalEntryModel, RunModel, RunPageModel, RunStateEnum } from './run.model.js';
import { RunService } from './run.service.js';
import { RunWatch } from './run-watch.js';

@Resolver(() => RunModel)
export class RunResolver {
  constructor(
    @Inject(RunService) private readonly runs: RunService,
    @Inject(RunWatch) private readonly watch: RunWatch,
  ) {}

  @Query(() => RunModel)
  @Permission('run:read')
  run(@CurrentPrincipal() principal: Principal, @Args('id', { type: () => ID }) id: string): Promise<Run> {
    return this.runs.get(principal, id);
  }

  @Query(() => RunPageModel, { name: 'runs', description: 'Newest first.' })
  @Permission('run:read')
  list(
    @CurrentPrincipal() principal: Principal,
    @Args('first', { type: () => Int, defaultValue: 20 }, new SchemaPipe('first', First)) first: number,
    @Args('after', { type: () => ID, nullable: true }, new SchemaPipe('after', After)) after: string | null,
    @Args('state', { type: () => RunStateEnum, nullable: true }) state: RunState | null,
  ): Promise<Page<Run>> {
    return this.runs.list(principal, {
      first,
      after: after ?? undefined,
      state: state ?? undefined,
    });
  }

  @Mutation(() => RunModel, { description: 'Commits the run and answers; it starts when its turn comes.' })
  @Permission('run:start')
  startRun(
    @CurrentPrincipal() principal: Principal,
    @Args('input', { type: () => StartRunInput }, new SchemaPipe('input', StartRun))
    input: z.infer<typeof StartRun>,
  ): Promise<Run> {
    return this.runs.start(principal, input);
  }

  @Subscription(() => RunModel, {
    description:
      'The run as it is now, then after each change of state or reason; completes when the run has ended.',
    resolve: (run: Run) => run,
  })
  @Permission('run:read')
  runChanged(
    @CurrentPrincipal() principal: Principal,
    @Args('id', { type: () => ID }) id: string,
    @Context() context: RequestContext,
  ): Promise<AsyncIterableIterator<Run>> {
    return this.watch.open(principal, id, context);
  }

  @ResolveField(() => JsonScalar, {
    nullable: true,
    description: 'null: removed, see contentRemovedAt.',
    complexity: 1,
  })
  input(@CurrentPrincipal('run:read') principal: Principal, @Parent() run: Run): Promise<Json> {
    return this.runs.input(principal, run);
  }

  @ResolveField(() => JsonScalar, { nullable: true, complexity: 1 })
  result(@CurrentPrincipal('run:read') principal: Principal, @Parent() run: Run): Promise<Json> {
    return this.runs.result(principal, run);
  }

  @ResolveField(() => [JournalEntryModel], {
    description: 'What the run did and was refused, oldest first.',
    complexity: READ,
  })
  journal(
    @CurrentPrincipal('run:read') principal: Principal,
    @Parent() run: Run,
  ): Promise<readonly JournalEntryView[]> {
    return this.runs.journal(principal.tenantId, run.id as RunId);
  }

  @ResolveField(() => String, {
    nullable: true,
    description: 'The history in Temporal UI; needs a signed-in browser.',
    complexity: 1,
  })
  temporalUrl(@Parent() run: Run): string | undefined {
    return this.runs.temporalUrl(run.id);
  }
}
