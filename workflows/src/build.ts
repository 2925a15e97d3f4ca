import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';
import { lifecycleBundlePath, workflowBundlePath } from './bundle.js';

/** Packs the workflows and their interceptors once, at build time: a fleet never runs a bundler. */
const compiled = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const { code } = await bundleWorkflowCode({
  workflowsPath: compiled('./workflows.js'),
  workflowInterceptorModules: [compiled('./interceptors.js')],
  failureConverterPath: compiled('./failure-converter.js'),
  logger: new DefaultLogger('WARN'),
});
await writeFile(workflowBundlePath(), code);

const lifecycle = await bundleWorkflowCode({
  workflowsPath: compiled('./lifecycle.js'),
  logger: new DefaultLogger('WARN'),
});
await writeFile(lifecycleBundlePath(), lifecycle.code);
