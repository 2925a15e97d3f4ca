import http from 'node:http';
import { Context } from '@temporalio/activity';
import { NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { placementOf, tenantId } from '@bulkhead/contract';
import { openTenantDoor, tenantKeys } from '@bulkhead/prisma/tenant';
import { createTenantCodec, workerConverterOf } from '@bulkhead/runtime/codec';
import { loadHostConfig } from '@bulkhead/runtime/config';
import { createKeyRing } from '@bulkhead/runtime/keys';

/**
 * The baseline: a Worker with the production Worker's settings whose one activity makes the same HTTP request on the
 * same kind of client (node:http, keep-alive) with the same heartbeat and the same codec, and nothing else. Arguments:
 * address, tenant, task queue, path of a token file, path of the bundle, path of the host's configuration (for the keys).
 */
const [, , address = '', tenant = '', taskQueue = '', tokenFile = '', codePath = '', configFile = ''] =
  process.argv;
const HEARTBEAT_MS = 2_000;
const agent = new http.Agent({ keepAlive: true, maxSockets: 64, maxFreeSockets: 16, timeout: 30_000 });

async function bareCall(url: string, body: object): Promise<unknown> {
  const { heartbeat, cancellationSignal: signal } = Context.current();
  const heart = setInterval(() => heartbeat(), HEARTBEAT_MS);
  try {
    return await send(url, JSON.stringify(body), signal);
  } finally {
    clearInterval(heart);
  }
}

function send(url: string, body: string, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const headers = { accept: 'application/json', 'content-type': 'application/json' };
    const request = http.request(url, { method: 'PATCH', headers, agent, signal }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(JSON.parse(Buffer.concat(chunks).toString('utf8'))));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

const { readFile } = await import('node:fs/promises');
const config = loadHostConfig(configFile);
const door = openTenantDoor({ ...config.database, poolMax: 1, onError: () => undefined }); // a broken call throws itself
const keyRing = createKeyRing({ masterKeyPath: config.keys.master, loadTenantKey: tenantKeys(door) });
Runtime.install({ shutdownSignals: [], workerHeartbeatInterval: 0 });
const worker = await Worker.create({
  connection: await NativeConnection.connect({
    address,
    apiKey: (await readFile(tokenFile, 'utf8')).trim(),
    tls: false,
  }),
  namespace: placementOf(tenantId(tenant)).namespace,
  taskQueue,
  workflowBundle: { codePath },
  dataConverter: workerConverterOf(createTenantCodec(tenantId(tenant), keyRing)),
  activities: { bareCall },
  workflowThreadPoolSize: 2,
  reuseV8Context: true,
  maxCachedWorkflows: 100,
  workflowTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 8 },
  activityTaskPollerBehavior: { type: 'autoscaling', minimum: 1, initial: 1, maximum: 8 },
  maxConcurrentWorkflowTaskExecutions: 16,
  maxConcurrentActivityTaskExecutions: 32,
  maxConcurrentLocalActivityExecutions: 32,
  stickyQueueScheduleToStartTimeout: '5s',
  maxHeartbeatThrottleInterval: '3s',
  defaultHeartbeatThrottleInterval: '1s',
});
process.on('disconnect', () => worker.shutdown());
process.on('SIGTERM', () => worker.shutdown());
process.send?.({ type: 'ready' });
await worker.run();
process.exit(0);
