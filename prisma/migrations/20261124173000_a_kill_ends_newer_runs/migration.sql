-- A kill that ends runs, ordered again while it is in force, also ends the runs that were accepted or reset since: before,
-- it said that it had, and they waited for the kill to be lifted. What is ordered already is not ordered twice.
CREATE OR REPLACE FUNCTION stop_calls(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE s control_stops; made boolean; ended int := 0; r record; answer jsonb;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_exclusive();
  IF p->>'scope' = 'agent' AND NOT EXISTS (SELECT FROM agents x WHERE x.tenant_id = app_tenant() AND x.id = p->>'target')
     OR p->>'scope' = 'tool' AND NOT EXISTS (SELECT FROM tools x WHERE x.tenant_id = app_tenant() AND x.id = p->>'target') THEN
    RETURN '{"kind":"not_found"}';
  END IF;
  INSERT INTO control_stops (tenant_id, id, scope, target, state, reason, actor)
  VALUES (app_tenant(), p->>'id', p->>'scope', p->>'target', p->>'state', p->>'reason', p->>'actor')
  ON CONFLICT (tenant_id, scope, target, state) WHERE resumed_at IS NULL DO NOTHING;
  made := FOUND;
  SELECT * INTO s FROM control_stops x WHERE x.tenant_id = app_tenant() AND x.scope = p->>'scope' AND x.target = p->>'target'
     AND x.state = p->>'state' AND x.resumed_at IS NULL;
  IF made THEN UPDATE tenants SET stops = stops + 1 WHERE id = app_tenant(); END IF;
  IF (p->>'end')::boolean THEN
    UPDATE control_stops SET ends = true WHERE tenant_id = app_tenant() AND id = s.id;
    FOR r IN SELECT x.id FROM runs x WHERE x.tenant_id = app_tenant() AND x.finished_at IS NULL AND (s.scope = 'tenant' OR x.agent_id = s.target) LOOP
      answer := request_run(jsonb_build_object('tenantId', p->>'tenantId', 'runId', r.id, 'kind', 'terminate', 'reason', p->>'reason',
        'actor', p->>'actor', 'detail', '{}'::jsonb, 'digest', encode(sha256('{}'::bytea), 'hex')));
      ended := ended + coalesce((answer->>'created')::boolean, false)::int;
    END LOOP;
  END IF;
  IF made OR ended > 0 OR (p->>'end')::boolean AND NOT s.ends THEN
    PERFORM journal('control', NULL, NULL, jsonb_build_object('change', 'stopped', 'stop', s.id, 'scope', s.scope, 'target', s.target,
      'state', s.state, 'end', p->'end', 'runsEnded', ended, 'by', p->>'actor', 'reason', p->>'reason'));
  END IF;
  PERFORM pg_notify('bulkhead_control', p->>'tenantId');
  RETURN jsonb_build_object('kind', 'stopped', 'id', s.id, 'created', made);
END $$;
