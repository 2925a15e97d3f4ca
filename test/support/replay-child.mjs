// Replays every history of a folder (`<workflowId, URL encoded>.bin`, protobuf) on the prebuilt bundle, opened with the key of
// a file; one JSON line each.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import proto from '@temporalio/proto';
import { createTenantCodec, workerConverterOf } from '@bulkhead/runtime/codec';
import { createKeyRing } from '@bulkhead/runtime/keys';
// as a host has it: what it takes out of a history is not there in a replay either
import { FleetWorker } from '../../temporal/runtime/dist/fleet-worker.js';

const [folder, bundle, keyFile] = process.argv.slice(2);
const { tenantId, masterKeyPath, keyId, wrapped } = JSON.parse(readFileSync(keyFile, 'utf8'));
const keyRing = createKeyRing({
  masterKeyPath,
  loadTenantKey: async () => ({ keyId, wrapped: Buffer.from(wrapped, 'base64') }),
});
Runtime.install({
  logger: new DefaultLogger('ERROR'),
  workerHeartbeatInterval: 0,
  // stdout carries the results
  telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
});
const names = readdirSync(folder).filter((name) => name.endsWith('.bin'));
const histories = names.map((name) => ({
  workflowId: decodeURIComponent(name.replace(/\.bin$/, '')),
  history: proto.temporal.api.history.v1.History.decode(readFileSync(join(folder, name))),
}));
for await (const { workflowId, error } of FleetWorker.runReplayHistories(
  {
    workflowBundle: { codePath: bundle },
    dataConverter: workerConverterOf(createTenantCodec(tenantId, keyRing)),
  },
  histories,
)) {
  console.log(JSON.stringify({ workflowId, error: error ? `${error.name}: ${error.message}` : null }));
}
process.exit(0);
