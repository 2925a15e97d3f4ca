export type { QuotaChange } from './change.js';
export { grantQuota, setOwnQuota } from './change.js';
export type { QuotaLayer, QuotaLimits, QuotaUsage } from './usage.js';
export { LIMIT_MAX, QUOTA_LAYERS, usage } from './usage.js';
