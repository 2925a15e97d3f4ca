/**
 * A process that stops in the middle of a transaction (SIGSTOP, a lost machine) would keep its locks, and with the lock
 * of a change the tenant would wait for ever. Longer than any transaction of ours, which end after 15 s.
 */
export const IDLE_IN_TRANSACTION_MS = 30_000;
