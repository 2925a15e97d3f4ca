import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ErrorCode, McpError } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, describe, expect, it } from 'vitest';
import { tenantId } from '@bulkhead/contract';
import type { Json, TenantId } from '@bulkhead/contract';
import { McpToolSpec } from '@bulkhead/contract/schemas';
import { createEgress } from './egress.js';
import { classifyMcpError, classifyMcpResult, createMcpAdapter } from './mcp.js';
import { createMcpPool } from './mcp-pool.js';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');
const MEMORY = join(
  createRequire(import.meta.url).resolve('@modelcontextprotocol/server-memory/package.json'),
  '../dist/index.js',
);
/** A server of one tool that answers with its environment, in the protocol's own words. */
const SPY = `
  process.stdin.setEncoding('utf8').on('data', (text) => text.trim().split('\\n').forEach((line) => {
    const { id, method, params } = JSON.parse(line);
    const answer = (result) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n');
    if (method === 'initialize') answer({ protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'spy', version: '1' } });
    if (method === 'tools/call' && params.name === 'env') answer({ content: [], structuredContent: { env: process.env, cwd: process.cwd(), pid: process.pid } });
    if (method === 'tools/call' && params.name === 'die') process.exit(1);
    if (method === 'tools/call' && params.name === 'fail') answer({ isError: true, content: [{ type: 'text', text: 'no such thing' }] });
  }));`;

const dataDir = mkdtempSync(join(tmpdir(), 'bulkhead-mcp-'));
const pool = createMcpPool({
  dataDir,
  path: process.env['PATH'] ?? '',
  servers: {
    memory: { command: process.execPath, args: [MEMORY], dataFileEnv: 'MEMORY_FILE_PATH' },
    spy: { command: process.execPath, args: ['-e', SPY] },
    missing: { command: '/nowhere/server', args: [] },
  },
});
const adapter = createMcpAdapter(pool, createEgress({ allow: [] }));
afterAll(async () => {
  await pool.close();
  rmSync(dataDir, { recursive: true });
});

const call = (
  tenant: TenantId,
  server: string,
  tool: string,
  args: { [name: string]: Json } = {},
  over: object = {},
) =>
  adapter({
    tenantId: tenant,
    spec: McpToolSpec.parse({
      description: 'x',
      inputSchema: {},
      effect: 'write',
      idempotency: 'natural',
      adapter: 'mcp',
      server: { stdio: server },
      tool,
    }),
    args,
    url: undefined,
    idempotencyKey: 'bh-1',
    lease: undefined,
    signal: AbortSignal.timeout(10_000),
    mayBegin: () => true,
    stillMine: () => true,
    ...over,
  });
const entity = (name: string) => ({
  entities: [{ name, entityType: 'fact', observations: ['the code word is heron'] }],
});

describe('MCP adapter with a server that we did not write', () => {
  it("attack: globex asks for what acme's agent remembered, and there is nothing", async () => {
    expect(await call(ACME, 'memory', 'create_entities', entity('acme-secret'))).toMatchObject({
      outcome: 'ok',
    });
    const own = await call(ACME, 'memory', 'search_nodes', { query: 'heron' });
    expect(own).toMatchObject({ value: { entities: [{ name: 'acme-secret' }] } });
    const foreign = await call(GLOBEX, 'memory', 'search_nodes', { query: 'heron' });
    expect(foreign).toMatchObject({ outcome: 'ok', value: { entities: [] } });
    expect(readFileSync(join(dataDir, 'mcp/acme/memory.json'), 'utf8')).toContain('heron');
  });

  it('a call that the server refuses is an answer', async () => {
    expect(await call(ACME, 'memory', 'no_such_tool')).toMatchObject({
      kind: 'answered',
      outcome: 'tool_failed',
    });
    expect(await call(ACME, 'spy', 'fail')).toMatchObject({
      outcome: 'tool_failed',
      message: 'The tool failed: no such thing',
    });
  });

  it("attack: a server reads our environment, and it is empty but for PATH; it stands in the tenant's own folder", async () => {
    const ending = await call(ACME, 'spy', 'env');
    expect(ending).toMatchObject({
      value: { env: { PATH: process.env['PATH'] }, cwd: join(dataDir, 'mcp/acme') },
    });
    const { env } = (ending as unknown as { value: { env: object } }).value;
    expect(Object.keys(env).filter((name) => name !== 'PATH')).toEqual([]);
  });

  it('a child that dies in the middle leaves the call unknown; the next call gets another child', async () => {
    const pidOf = async (): Promise<unknown> =>
      ((await call(ACME, 'spy', 'env')) as unknown as { value: { pid: number } }).value.pid;
    const first = await pidOf();
    expect(await pidOf()).toBe(first);
    expect(await call(ACME, 'spy', 'die')).toMatchObject({ kind: 'unknown' });
    expect(await pidOf()).not.toBe(first);
  });

  it('a server that does not start or is not configured: not sent', async () => {
    for (const server of ['missing', 'unheard-of', 'constructor']) {
      expect(await call(ACME, server, 'x')).toMatchObject({
        kind: 'not_sent',
        refusal: 'unreachable',
      });
    }
  });

  it('no answer within the time: unknown', async () => {
    expect(await call(ACME, 'spy', 'silence', {}, { signal: AbortSignal.timeout(300) })).toMatchObject({
      kind: 'unknown',
    });
  });

  it('a fenced host sends nothing', async () => {
    expect(await call(ACME, 'spy', 'env', {}, { mayBegin: () => false })).toMatchObject({
      kind: 'not_sent',
      refusal: 'host_fenced',
    });
    expect(await call(ACME, 'spy', 'env', {}, { stillMine: () => false })).toMatchObject({
      kind: 'not_sent',
      refusal: 'host_fenced',
    });
  });
});

describe('what an MCP result means', () => {
  it('prefers structured content, keeps the other as it is, and bounds both', () => {
    expect(
      classifyMcpResult({ content: [{ type: 'text', text: 'x' }], structuredContent: { a: 1 } }, 1_000),
    ).toMatchObject({ value: { a: 1 } });
    expect(classifyMcpResult({ content: [{ type: 'text', text: 'x' }] }, 1_000)).toMatchObject({
      value: { content: [{ text: 'x' }] },
    });
    expect(classifyMcpResult({ content: [{ type: 'text', text: 'x'.repeat(1_000) }] }, 1_000)).toMatchObject({
      outcome: 'tool_failed',
    });
  });

  it('an error code of the protocol is an answer, a lost connection and a timeout are none', () => {
    expect(classifyMcpError(new McpError(ErrorCode.InvalidParams, 'bad'), true)).toMatchObject({
      outcome: 'tool_failed',
    });
    for (const code of [ErrorCode.ConnectionClosed, ErrorCode.RequestTimeout]) {
      expect(classifyMcpError(new McpError(code, 'x'), true)).toMatchObject({ kind: 'unknown' });
    }
    expect(classifyMcpError(new Error('anything'), false)).toMatchObject({ kind: 'not_sent' });
  });
});
