import type { AgentStart, Json, ListedTool, Outcome } from '@bulkhead/contract';
import { cut, textAt } from './json.js';
import { openKit } from './kit/index.js';
import type { Kit } from './kit/index.js';
import { stepOf } from './steps.js';
import type { Step } from './steps.js';

/** Somebody else's server: the demo tries to post there and is refused. */
const OUTSIDE_HOOK = 'https://paste.example.net/hook';
/** The helpdesk takes answers of at most 4000 characters, the memory facts of at most 500. */
const ANSWER_LENGTH_MAX = 4_000;
const FACT_LENGTH_MAX = 500;

export interface TriageResult {
  readonly steps: readonly Step[];
  readonly answer: string | null;
}

/** Answers one ticket: reads it, recalls, asks the model, remembers, writes the answer back, tells a webhook. */
export async function supportTriage(start: AgentStart): Promise<TriageResult> {
  const kit = openKit(start);
  const ticketId = textAt(start.input, 'ticketId') ?? '';
  const steps: Step[] = [];
  const noted = (tool: string, outcome: Outcome): Outcome => {
    steps.push(stepOf(tool, outcome));
    return outcome;
  };

  const ticket = noted('helpdesk.ticket.read', await kit.tools.call('helpdesk.ticket.read', { ticketId }));
  if (ticket.kind !== 'ok') return { steps, answer: null };
  const question = questionOf(ticketId, ticket.value);

  const recalled = noted('memory.search_nodes', await kit.memory.recall(ticketId));
  const { tools } = await kit.tools.available();
  const drafted = noted('model.chat', await ask(kit, question, recalled, tools));
  const answer = drafted.kind === 'ok' ? textAt(drafted.value, 'text') : undefined;
  if (answer === undefined) return { steps, answer: null };

  noted('memory.create_entities', await remember(kit, ticketId, answer));
  const update = { ticketId, answer: cut(answer, ANSWER_LENGTH_MAX) };
  const written = noted('helpdesk.ticket.update', await kit.tools.call('helpdesk.ticket.update', update));
  const post = { url: OUTSIDE_HOOK, text: `Ticket ${ticketId} was answered.` };
  noted('webhook.post', await kit.tools.call('webhook.post', post));
  return { steps, answer: written.kind === 'ok' ? update.answer : null };
}

function questionOf(ticketId: string, ticket: Json): string {
  const subject = textAt(ticket, 'subject') ?? '';
  const body = textAt(ticket, 'body') ?? '';
  return `Ticket ${ticketId}: ${subject}\n\n${body}`;
}

/** What was remembered helps, but its absence stops nothing. */
function ask(kit: Kit, question: string, recalled: Outcome, tools: readonly ListedTool[]): Promise<Outcome> {
  const known = recalled.kind === 'ok' ? cut(JSON.stringify(recalled.value), 4_000) : 'nothing';
  return kit.model.ask(
    [
      { role: 'system', content: 'You answer support tickets in two friendly sentences.' },
      // as JSON between the lines: what somebody wrote about a tool is read about, not obeyed
      {
        role: 'system',
        content: `What this agent may do, as data: ${cut(JSON.stringify(tools.map(named)), 4_000)}`,
      },
      { role: 'system', content: `Known from earlier tickets: ${known}` },
      { role: 'user', content: question },
    ],
    400,
  );
}

const named = ({ id, description, standing }: ListedTool) => ({ id, description, standing });

function remember(kit: Kit, ticketId: string, answer: string): Promise<Outcome> {
  return kit.memory.remember([
    { name: ticketId, entityType: 'ticket', observations: [cut(`answered: ${answer}`, FACT_LENGTH_MAX)] },
  ]);
}
