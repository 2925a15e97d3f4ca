-- An approval that nobody can use any more says so: `expired` when its time was up, `void` when its run ended first. The control
-- process writes that, with the end of the run; it can end what is pending and nothing else, above all not approve.
GRANT UPDATE (state) ON approvals TO bulkhead_control;
CREATE POLICY end_only ON approvals AS RESTRICTIVE FOR UPDATE TO bulkhead_control
  USING (state = 'pending') WITH CHECK (state IN ('expired', 'void'));
-- What is pending is a small part, looked through every few seconds and at the end of each run.
CREATE INDEX approvals_pending_idx ON approvals (tenant_id, run_id) WHERE state = 'pending';
