import { defineSignal, setHandler } from '@temporalio/workflow';
import type { AgentStart, Json } from '@bulkhead/contract';
import { countAt, textAt } from './json.js';
import { openKit } from './kit/index.js';
import { stepOf } from './steps.js';
import type { Step } from './steps.js';

export interface ChainResult {
  readonly steps: readonly Step[];
  readonly segments: number;
}

/**
 * A long run in several histories: input `{ ticketId, segments = 3, callsPerSegment = 1 }`. Each segment writes the
 * same answers again, so equal calls of different segments are different effects. A person may say that it is `enough`:
 * it ends after the call under way.
 */
export async function longChain(start: AgentStart): Promise<ChainResult> {
  const kit = openKit(start);
  const ticketId = textAt(start.input, 'ticketId') ?? '';
  const segments = countAt(start.input, 'segments', 1, 3);
  const callsPerSegment = countAt(start.input, 'callsPerSegment', 1, 1);
  const steps: Step[] = [...earlierSteps(start.carry)];
  const told = { enough: false };
  setHandler(defineSignal('enough'), () => void (told.enough = true));
  for (let part = 1; part <= callsPerSegment && !told.enough; part += 1) {
    const update = { ticketId, answer: `part ${part} of ${callsPerSegment}` };
    steps.push(stepOf('helpdesk.ticket.update', await kit.tools.call('helpdesk.ticket.update', update)));
  }
  if (start.segment + 1 < segments && !told.enough)
    return kit.nextSegment({ steps: steps.map((step) => ({ ...step })) });
  return { steps, segments: start.segment + 1 };
}

/** Our own carry of the segment before. */
function earlierSteps(carry: Json | undefined): readonly Step[] {
  return (carry as { readonly steps: readonly Step[] } | undefined)?.steps ?? [];
}
