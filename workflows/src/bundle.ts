import { fileURLToPath } from 'node:url';

/** The prebuilt workflow code that every Worker of every tenant runs; `npm run build` makes it. */
export function workflowBundlePath(): string {
  return fileURLToPath(new URL('../dist/workflow-bundle.js', import.meta.url));
}

/** The platform's own workflow code, which the control process runs; no tenant's Worker has it. */
export function lifecycleBundlePath(): string {
  return fileURLToPath(new URL('../dist/lifecycle-bundle.js', import.meta.url));
}
