-- What people ask of one run is carried out in the order in which they asked, after the start: a cancel that overtook the
-- reset before it would end the execution that the reset replaces. Each claim looks for what stands before.
CREATE INDEX "outbox_undelivered_of_run_idx" ON "outbox"("tenant_id", "run_id", "id") WHERE "delivered_at" IS NULL;
