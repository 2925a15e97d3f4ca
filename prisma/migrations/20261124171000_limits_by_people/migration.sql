-- What the platform's operators grant, and what the tenant sets for itself below it. What admit reads is always the lower of both, in the
-- row itself: neither of the two who write can raise the other's, and a call asks for nothing more than before.
ALTER TABLE quotas RENAME COLUMN "limit" TO granted;
ALTER TABLE quotas ALTER COLUMN granted DROP NOT NULL;
ALTER TABLE quotas
  ADD COLUMN own BIGINT,
  -- with no grant, what every tenant has: 1,000 calls; the other layers are counted and never refused
  ADD COLUMN "limit" BIGINT GENERATED ALWAYS AS (least(coalesce(granted, CASE WHEN layer = 'tool_calls_per_day' THEN 1000 END), own)) STORED,
  ADD CONSTRAINT quotas_not_negative CHECK (granted >= 0 AND own >= 0);
