export { createKeyRing } from './key-ring.js';
export type { KeyRing, KeyRingOptions, SealedParts, WrappedTenantKey } from './key-ring.js';
export { decrypt, encrypt, KEY_BYTES } from './aes-gcm.js';
export type { Bytes } from './aes-gcm.js';
export { PURPOSES } from './purposes.js';
