-- What is open is a handful of rows among all that were ever done: who looks for it (the reaper, whoever waits until a stop
-- is in force) reads this index and never the table. The line itself finds an effect by its key.
CREATE INDEX "effects_open_idx" ON "effects"("tenant_id", "deadline_at") WHERE state = 'open';

-- The reaper is the one part of the control process that closes an effect, and closing is all it can do.
GRANT UPDATE (state, outcome, closed_at, holder_ended) ON effects TO bulkhead_control;
