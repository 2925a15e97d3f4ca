import {
  allHandlersFinished,
  condition,
  defineUpdate,
  executeChild,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { AgentStart, Outcome } from '@bulkhead/contract';
import { openKit } from '../../workflows/src/kit/index.js';

/** The platform's workflows have no updates yet; this one has, so that what guards them can be attacked. */
export async function updatable(start: AgentStart): Promise<number> {
  const kit = openKit(start);
  let done = 0;
  const act = async (): Promise<Outcome['kind']> => {
    const { kind } = await kit.tools.call('webhook.post', { url: 'https://hooks.example/', text: 'x' });
    done += 1;
    return kind;
  };
  setHandler(defineUpdate('checked'), act, { validator: () => undefined });
  setHandler(defineUpdate('unchecked'), act);
  await condition(() => done > 0);
  await condition(allHandlersFinished);
  return done;
}

/** Starts work by itself, past acceptance. */
export async function mother(start: AgentStart): Promise<unknown> {
  openKit(start);
  return executeChild('longChain', { workflowId: `${workflowInfo().workflowId}/0.0`, args: [start] });
}

export { longChain } from '../../workflows/src/long-chain.js';
export { supportTriage } from '../../workflows/src/support-triage.js';
