import { expect, it } from 'vitest';
import { scriptedCompletion } from './scripted-model.js';

interface Completion {
  model: string;
  choices: { finish_reason: string; message: { role: string; content: string } }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
}
const complete = (content: string): Completion =>
  scriptedCompletion({ messages: [{ role: 'user', content }] }) as Completion;

it.each(['My invoice is wrong', 'something else', ''])(
  'says in every answer that it is scripted: %s',
  (question) => {
    const { model, choices } = complete(question);
    expect(model).toBe('scripted-demo');
    expect(choices).toHaveLength(1);
    expect(choices[0]).toMatchObject({ finish_reason: 'stop', message: { role: 'assistant' } });
    expect(choices[0]?.message.content).toContain('(scripted answer, no language model was asked)');
  },
);

it('answers what was asked, the same each time, and adds up its tokens', () => {
  const refund = complete('I want a REFUND');
  expect(refund.choices[0]?.message.content).toContain('Your refund is on its way');
  expect(complete('I want a REFUND')).toEqual(refund);
  expect(refund.usage.total_tokens).toBe(refund.usage.prompt_tokens + refund.usage.completion_tokens);
  expect(scriptedCompletion({})).toMatchObject({ object: 'chat.completion' });
});
