/** Every workflow that a Worker knows, under its wire name. */
export { supportTriage } from './support-triage.js';
export { longChain } from './long-chain.js';
