import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundleWorkflowCode, DefaultLogger } from '@temporalio/worker';

/** The platform's workflows and interceptors from their sources, and `updatable` with them. */
export async function bundleWithUpdates(): Promise<{ path: string; remove(): Promise<void> }> {
  const source = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
  const { code } = await bundleWorkflowCode({
    workflowsPath: source('./updatable.ts'),
    workflowInterceptorModules: [source('../../workflows/dist/interceptors.js')],
    failureConverterPath: source('../../workflows/dist/failure-converter.js'),
    logger: new DefaultLogger('ERROR'),
  });
  const folder = await mkdtemp(join(tmpdir(), 'bulkhead-bundle-'));
  const path = join(folder, 'bundle.js');
  await writeFile(path, code);
  return { path, remove: () => rm(folder, { recursive: true }) };
}
