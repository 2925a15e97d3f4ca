// Replays every history of a folder (`<workflowId, URL encoded>.bin`, protobuf) on the prebuilt bundle; one JSON line each.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import proto from '@temporalio/proto';

const [folder, bundle] = process.argv.slice(2);
Runtime.install({
  logger: new DefaultLogger('ERROR'),
  workerHeartbeatInterval: 0,
  // stdout carries the results
  telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
});
const histories = readdirSync(folder).map((name) => ({
  workflowId: decodeURIComponent(name.replace(/\.bin$/, '')),
  history: proto.temporal.api.history.v1.History.decode(readFileSync(join(folder, name))),
}));
for await (const { workflowId, error } of Worker.runReplayHistories(
  { workflowBundle: { codePath: bundle } },
  histories,
)) {
  console.log(JSON.stringify({ workflowId, error: error ? `${error.name}: ${error.message}` : null }));
}
process.exit(0);
