import { describe, expect, it } from 'vitest';
import { ToolSpecSchema } from '@bulkhead/contract/schemas';
import type { ToolSpec } from '@bulkhead/contract/schemas';
import { resolveDestination } from './destination.js';

const tool = (over: object): ToolSpec =>
  ToolSpecSchema.parse({
    description: 'x',
    inputSchema: {},
    effect: 'read',
    idempotency: 'natural',
    ...over,
  });
const GET = { adapter: 'http', method: 'GET' };
const TEMPLATE = tool({ ...GET, url: 'https://api.example.com/tickets/{id}' });
const HOOK = tool({ adapter: 'http', method: 'POST', urlArgument: 'url' });

describe('destination of a call', () => {
  it('puts an argument into one segment of the path', () => {
    expect(resolveDestination(TEMPLATE, { id: 'T-1 a' })).toMatchObject({
      url: new URL('https://api.example.com/tickets/T-1%20a'),
      fact: { host: 'api.example.com', port: 443, path: '/tickets/T-1%20a' },
    });
  });

  it.each(['../admin', 'a/b', 'x?y=1', 'x#y', '@evil.example', '\\evil', 'a%2Fb'])(
    'attack: %s cannot leave its segment, host or query',
    (id) => {
      const resolved = resolveDestination(TEMPLATE, { id });
      expect(resolved).toMatchObject({ fact: { host: 'api.example.com' }, url: { search: '', hash: '' } });
      expect('fact' in resolved && resolved.fact.path.split('/').length).toBe(3);
    },
  );

  it.each(['..', '.', ''])('attack: %j would walk up the path and is refused', (id) => {
    expect(resolveDestination(TEMPLATE, { id })).toMatchObject({ field: 'id' });
  });

  it('attack: an agent writes a forbidden host in another way; policy sees one name', () => {
    for (const url of [
      'https://EVIL.example/x',
      'https://evil.example./x',
      'https://evil.example:8443/x',
      'HTTPS://evil.example/x',
    ]) {
      expect(resolveDestination(HOOK, { url })).toMatchObject({ fact: { host: 'evil.example' } });
    }
  });

  it.each([
    'file:///etc/passwd',
    'javascript:1',
    'not a url',
    'https://user:pw@host/',
    'ftp://host/x',
    7,
    null,
  ])('refuses %j as a destination', (url) => {
    expect(resolveDestination(HOOK, { url })).toMatchObject({ field: 'url' });
  });

  it('knows where models and MCP servers are', () => {
    const model = tool({ adapter: 'model', baseUrl: 'http://127.0.0.1:4011/v1/', model: 'm' });
    expect(resolveDestination(model, {})).toMatchObject({
      fact: { host: '127.0.0.1', port: 4011, path: '/v1/chat/completions' },
    });
    const local = tool({ adapter: 'mcp', server: { stdio: 'memory' }, tool: 'search' });
    expect(resolveDestination(local, {})).toEqual({
      url: undefined,
      fact: { host: 'mcp:memory', path: 'search' },
      target: 'mcp search at memory',
    });
  });
});
