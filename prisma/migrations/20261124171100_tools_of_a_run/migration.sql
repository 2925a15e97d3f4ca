-- The tools that are on and that no stop holds for this agent, a page by id, for a run that lives. What policy says to them, the host
-- asks; this only takes away what control takes away, as admit would: where all calls of the run are parked there is no list either.
CREATE FUNCTION run_tools(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE shown text; s record; listed jsonb;
BEGIN
  -- as in admit: first the locks, so that what is read is what a stop or a publish left that committed while we waited
  PERFORM set_config('app.tenant', p->>'tenantId', true), pg_advisory_xact_lock_shared(1, 0),
    pg_advisory_xact_lock_shared(2, hashtext(p->>'tenantId'));
  SELECT r.state INTO shown FROM runs r WHERE r.tenant_id = app_tenant() AND r.id = p->>'runId' AND r.finished_at IS NULL;
  IF NOT FOUND THEN RETURN '{"kind":"run_ended"}'; END IF;
  -- of no tool, and of the class that is stopped last: what parks this parks every call
  s := refuse_stale(p || '{"effectClass":"read"}');
  IF s.answer->>'kind' = 'parked' THEN RETURN s.answer; END IF;
  IF shown IN ('killed', 'paused', 'frozen') THEN PERFORM show_run(p->>'runId', 'running', NULL); END IF;
  SELECT coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'spec', t.spec) ORDER BY t.id), '[]') INTO listed FROM (
    SELECT x.id, x.spec FROM tools x
     WHERE x.tenant_id = app_tenant() AND x.enabled AND x.id > coalesce(p->>'after', '')
       AND (p->>'system' IS NULL OR starts_with(x.id, (p->>'system') || '.'))
       AND NOT EXISTS (SELECT FROM control_stops c WHERE c.tenant_id = app_tenant() AND c.resumed_at IS NULL
         AND stop_covers(c, p->>'agentId', x.id, coalesce(x.spec->>'effect', 'irreversible')))
     ORDER BY x.id LIMIT (p->>'first')::int) t;
  RETURN jsonb_build_object('kind', 'tools', 'tools', listed);
END $$;
GRANT EXECUTE ON FUNCTION run_tools(jsonb) TO bulkhead_app;
