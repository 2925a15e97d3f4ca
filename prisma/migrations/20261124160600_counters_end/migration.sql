-- A counter of a window of the clock is of no use once that window is over, and one is made per rule, scope and minute: the
-- control process removes them a day later. What counts for ever is kept, because a run that ended can be reset.
DO $$
DECLARE
  over text := $over$CASE split_part("window", ' ', 1) WHEN 'minute' THEN "at" < now() - interval '1 day 1 minute'
    WHEN 'hour' THEN "at" < now() - interval '1 day 1 hour' WHEN 'day' THEN "at" < now() - interval '2 days' ELSE false END$over$;
  erased text := $erased$EXISTS (SELECT FROM tenants t WHERE t.id = policy_counters.tenant_id AND t.status = 'erasing')$erased$;
BEGIN
  EXECUTE format('ALTER POLICY erase_only ON policy_counters USING (%s OR (%s))', erased, over);
  EXECUTE format('CREATE POLICY over ON policy_counters FOR DELETE TO bulkhead_control USING (%s)', over);
  EXECUTE format('CREATE POLICY over_see ON policy_counters FOR SELECT TO bulkhead_control USING (%s)', over);
END $$;
GRANT SELECT (profile, rule, scope, "window", "at") ON policy_counters TO bulkhead_control;
CREATE INDEX policy_counters_at_idx ON policy_counters ("at") WHERE "window" <> 'ever';
