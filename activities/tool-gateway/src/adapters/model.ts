import { z } from 'zod';
import type { ModelTool } from '@bulkhead/contract/schemas';
import { credentialHeader, failed, refusal } from './adapter.js';
import type { Adapter, Ending } from './adapter.js';
import { classifyHttp } from './http.js';
import type { HttpTransport } from './http-transport.js';

/** The part of an OpenAI-compatible answer that is used. */
const Completion = z.object({
  model: z.string(),
  choices: z
    .array(
      z.object({
        message: z.object({ content: z.string().nullable() }),
        finish_reason: z.string().nullish(),
      }),
    )
    .min(1),
  usage: z.object({ prompt_tokens: z.int(), completion_tokens: z.int() }).nullish(),
});

/** Chat completions of any OpenAI-compatible endpoint; arguments `{ messages, maxTokens? }`. */
export function createModelAdapter(transport: HttpTransport): Adapter<ModelTool> {
  return async (invocation) => {
    const refused = refusal(invocation);
    if (refused) return refused;
    const { spec, url, args, idempotencyKey, signal, stillMine } = invocation;
    if (!url) return { kind: 'not_sent', refusal: 'denied', message: 'The model has no destination.' };
    const { messages, maxTokens } = args;
    const body = {
      model: spec.model,
      messages,
      ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
    };
    const answer = await transport.send({
      method: 'POST',
      url,
      headers: {
        accept: 'application/json',
        'content-type': 'application/json',
        'user-agent': 'bulkhead',
        ...(spec.idempotency === 'keyed' ? { 'idempotency-key': idempotencyKey } : {}),
        ...credentialHeader(invocation),
      },
      body: JSON.stringify(body),
      answerBytesMax: spec.answerBytesMax,
      signal,
      stillMine,
      ownConnection: spec.idempotency === 'none',
      agentChosen: false,
    });
    return classifyModel(classifyHttp(answer, spec.idempotency));
  };
}

/** Reads the completion out of an HTTP ending. */
export function classifyModel(ending: Ending): Ending {
  if (ending.kind !== 'answered' || ending.outcome !== 'ok') return ending;
  const completion = Completion.safeParse(ending.value);
  const content = completion.data?.choices[0]?.message.content;
  if (!completion.success || typeof content !== 'string') {
    return failed('The model did not answer with a chat completion.');
  }
  const { model, usage, choices } = completion.data;
  return {
    kind: 'answered',
    outcome: 'ok',
    value: {
      text: content,
      model,
      finishReason: choices[0]?.finish_reason ?? null,
      usage: usage ? { inputTokens: usage.prompt_tokens, outputTokens: usage.completion_tokens } : null,
    },
  };
}
