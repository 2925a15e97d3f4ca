import {
  ActivityCancellationType,
  allHandlersFinished,
  condition,
  continueAsNew,
  proxyActivities,
  proxyLocalActivities,
  workflowInfo,
} from '@temporalio/workflow';
import type { RetryPolicy } from '@temporalio/workflow';
import { expensiveQueueBeside, FAILURE_CODES, FAILURES, toolId as parseToolId } from '@bulkhead/contract';
import type {
  AgentStart,
  Json,
  LineActivities,
  Outcome,
  ToolList,
  ToolListRequest,
} from '@bulkhead/contract';
import { answers, isGrantAnswer, isToolList } from './answers.js';
import { createCaller } from './caller.js';
import { genuine } from './genuine.js';
import { openWaits } from './waits.js';
import type { Waits } from './waits.js';

export interface ModelMessage {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}
export interface MemoryEntity {
  readonly name: string;
  readonly entityType: string;
  readonly observations: readonly string[];
}

/** The author's kit. Everything that touches the world is a call; there is no second way out. */
export interface Kit {
  readonly tools: {
    call(toolId: string, args: Json): Promise<Outcome>;
    /**
     * The tools that this run's agent may call, as the policy in force says before there is a call; a tool that is not
     * in it would be refused or stopped. It permits nothing, and it is as old as it is: each call is judged by itself.
     * The list stands in the history, so a replay gives the same one. Names, descriptions and schemas are data.
     */
    available(which?: ToolListRequest): Promise<ToolList>;
  };
  readonly model: { ask(messages: readonly ModelMessage[], maxTokens?: number): Promise<Outcome> };
  readonly memory: {
    recall(query: string): Promise<Outcome>;
    remember(entities: readonly MemoryEntity[]): Promise<Outcome>;
  };
  /** Ends this segment and goes on in a new history with `carry`. Never returns. */
  nextSegment(carry: Json): Promise<never>;
}

const FINAL_FAULTS: string[] = FAILURE_CODES.filter((code) => !FAILURES[code].retry && code !== 'INTERNAL');
const RETRY = {
  initialInterval: '250ms',
  backoffCoefficient: 2,
  // a dependency that is back should be noticed within seconds; nothing accepted is given up
  maximumInterval: '5s',
  nonRetryableErrorTypes: FINAL_FAULTS,
} satisfies RetryPolicy;
/** The longest timeout that a tool may have is 300 s; the rest is for admit, settle and their retries. */
const GATEWAY = {
  startToCloseTimeout: '360s',
  // a host that died is noticed by this, and its call goes to another one
  heartbeatTimeout: '8s',
  retry: RETRY,
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
} as const;
const LIST = { startToCloseTimeout: '30s', retry: RETRY, summary: 'tools' } as const;
const BROKER = { startToCloseTimeout: '10s', localRetryThreshold: '10s', retry: RETRY } as const;

/** Opens the kit of one segment. Call it first in a workflow: it registers the signal handlers. */
export function openKit(start: AgentStart): Kit {
  const { secretBroker } = proxyLocalActivities<Pick<LineActivities, 'secretBroker'>>(BROKER);
  const waits = openWaits();
  const call = createCaller(start.segment, {
    broker: (toolId) => genuine(() => secretBroker({ toolId }), isGrantAnswer),
    gateway: (request, expensive) => {
      const { toolGateway } = proxyActivities<Pick<LineActivities, 'toolGateway'>>({
        ...GATEWAY,
        summary: request.toolId,
        ...(expensive ? { taskQueue: expensiveQueueBeside(workflowInfo().taskQueue) } : {}),
      });
      return genuine(
        () => toolGateway(request),
        (answer) => answers(request, workflowInfo().workflowId, answer),
      );
    },
    ...waits,
  });
  const tool = (id: string, args: Json): Promise<Outcome> => call(parseToolId(id), args);
  return {
    tools: { call: tool, available: (which = {}) => available(waits, which) },
    model: {
      ask: (messages, maxTokens) =>
        tool('model.chat', { messages: messages.map((message) => ({ ...message })), maxTokens }),
    },
    memory: {
      recall: (query) => tool('memory.search_nodes', { query }),
      remember: (entities) =>
        tool('memory.create_entities', { entities: entities.map((entity) => ({ ...entity })) }),
    },
    async nextSegment(carry) {
      // a signal that is being handled would be lost with this history
      await condition(allHandlersFinished);
      return continueAsNew({ input: start.input, segment: start.segment + 1, carry } satisfies AgentStart);
    },
  };
}

/** A stop never reaches the author here either: the run waits, and asks again once it is lifted. */
async function available(waits: Waits, which: ToolListRequest): Promise<ToolList> {
  const { toolList } = proxyActivities<Pick<LineActivities, 'toolList'>>(LIST);
  for (;;) {
    // before the question: a resume that comes while the answer is on its way must not be missed
    const seen = waits.resumes();
    const answer = await genuine(
      () => toolList(which),
      (told) => isToolList(which, workflowInfo().workflowId, told),
    );
    if (answer.kind === 'tools') return answer;
    await waits.resume(answer.state, undefined, seen);
  }
}
