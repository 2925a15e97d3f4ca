#!/usr/bin/env node
// `node test/support/list-ui-routes.mjs > test/support/ui-routes.txt`: every route that the pinned Temporal UI server has,
// read from its Go sources in the module cache. Run it when temporal/server/go.mod moves; the spec beside route.ts fails until
// each new route has a decision.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const MODULE = new URL('../../temporal/server', import.meta.url).pathname;
const UI = 'github.com/temporalio/ui-server/v2';
const API = 'go.temporal.io/api';

function moduleOf(name) {
  const answer = execFileSync('go', ['list', '-m', '-json', name], { cwd: MODULE, encoding: 'utf8' });
  const { Dir, Version } = JSON.parse(answer);
  if (!Dir) throw new Error(`${name} is not in the module cache: go mod download`);
  return { dir: Dir, version: Version };
}

/** Routes that gRPC gateway makes of the services which the UI server mounts under /api/v1. */
function gatewayRoutes(dir) {
  const handled =
    /mux\.Handle\(http\.Method(\w+), pattern_\w+,[\s\S]*?"\/temporal\.api\.\w+\.v1\.(\w+)\/(\w+)", runtime\.WithHTTPPathPattern\("([^"]+)"\)/g;
  return ['workflowservice', 'operatorservice'].flatMap((service) => {
    const text = readFileSync(join(dir, service, 'v1/service.pb.gw.go'), 'utf8');
    return [...text.matchAll(handled)].map(
      ([, method, name, call, path]) => `${method.toUpperCase().padEnd(6)} ${path}  ${name}.${call}`,
    );
  });
}

/** Routes that the UI server declares itself: `e.GET("/x", ...)` and those of its two groups. */
function ownRoutes(dir) {
  const groups = { 'api.go': '/api/v1', 'auth.go': '/auth' };
  const folder = join(dir, 'server/route');
  const files = readdirSync(folder).filter((file) => file.endsWith('.go') && !file.endsWith('_test.go'));
  const history = /WorkflowRawHistoryUrl = "([^"]+)"/.exec(
    readFileSync(join(dir, 'server/api/rawhistory.go'), 'utf8'),
  )[1];
  return files.flatMap((file) => {
    const text = readFileSync(join(folder, file), 'utf8').replaceAll(/^\s*\/\/.*$/gm, '');
    const declared = [
      ...text.matchAll(/\.(GET|POST|PUT|PATCH|DELETE)\(\s*("[^"]+"|api\.WorkflowRawHistoryUrl|renderPath)/g),
    ];
    return declared.map(([, method, path]) => {
      const places = { 'api.WorkflowRawHistoryUrl': history, renderPath: '/render' };
      const place = (places[path] ?? JSON.parse(path)).replaceAll(/:(\w+)/g, '{$1}');
      return `${method.padEnd(6)} ${groups[file] ?? ''}${place}  ui-server ${file}`;
    });
  });
}

const ui = moduleOf(UI);
const api = moduleOf(API);
console.log(`# ${UI} ${ui.version}, ${API} ${api.version}: made by list-ui-routes.mjs`);
console.log([...new Set([...ownRoutes(ui.dir), ...gatewayRoutes(api.dir)])].toSorted().join('\n'));
