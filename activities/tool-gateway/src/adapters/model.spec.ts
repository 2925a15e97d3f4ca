import { describe, expect, it } from 'vitest';
import type { Json } from '@bulkhead/contract';
import { classifyModel } from './model.js';

const answered = (value: Json) => ({ kind: 'answered', outcome: 'ok', value }) as const;
const choice = (content: string | null) => ({
  message: { role: 'assistant', content },
  finish_reason: 'stop',
});

describe('model adapter', () => {
  it('reads text, model and usage out of a chat completion', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 };
    expect(classifyModel(answered({ id: '1', model: 'm-1', choices: [choice('hello')], usage }))).toEqual(
      answered({
        text: 'hello',
        model: 'm-1',
        finishReason: 'stop',
        usage: { inputTokens: 3, outputTokens: 5 },
      }),
    );
  });

  it('does not invent usage that the endpoint did not report', () => {
    expect(classifyModel(answered({ model: 'm', choices: [choice('x')] }))).toMatchObject({
      value: { usage: null },
    });
  });

  it.each([{}, { model: 'm', choices: [] }, { model: 'm', choices: [choice(null)] }, null, 'text'])(
    '%j is no completion',
    (value) => {
      expect(classifyModel(answered(value))).toMatchObject({ kind: 'answered', outcome: 'tool_failed' });
    },
  );

  it('passes every other ending as it is', () => {
    const ending = { kind: 'unknown', message: 'x' } as const;
    expect(classifyModel(ending)).toBe(ending);
  });
});
