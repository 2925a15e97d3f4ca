-- Kill, pause, read-only and freeze: each stop is a row of its own, so that lifting one restores exactly what it stopped and
-- leaves every other one as it is. A row is never deleted: who stopped what, why, until when.
CREATE TABLE "control_stops" (
    "tenant_id" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "scope" TEXT NOT NULL,
    "target" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "ends" BOOLEAN NOT NULL DEFAULT false,
    "reason" TEXT NOT NULL,
    "actor" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "resumed_at" TIMESTAMPTZ(3),
    "resumed_by" TEXT,
    "resume_reason" TEXT,

    CONSTRAINT "control_stops_pkey" PRIMARY KEY ("tenant_id","id"),
    CONSTRAINT "control_stops_scope" CHECK (scope IN ('tenant', 'agent', 'tool') AND (scope = 'tenant') = (target = '')),
    CONSTRAINT "control_stops_state" CHECK (state IN ('killed', 'paused', 'read_only', 'frozen'))
);
-- one of a kind at a time
CREATE UNIQUE INDEX "control_stops_active_idx" ON "control_stops"("tenant_id", "scope", "target", "state") WHERE resumed_at IS NULL;

ALTER TABLE control_stops ENABLE ROW LEVEL SECURITY;
ALTER TABLE control_stops FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON control_stops TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
GRANT SELECT, INSERT, UPDATE (ends, resumed_at, resumed_by, resume_reason) ON control_stops TO bulkhead_app;

-- How many stops are in force. admit reads this row anyway, so a tenant without stops pays nothing for them.
ALTER TABLE tenants ADD COLUMN stops INTEGER NOT NULL DEFAULT 0;
GRANT UPDATE (stops) ON tenants TO bulkhead_app;

-- Whether a stop is about a call. Reads go on under read-only and freeze.
CREATE FUNCTION stop_covers(s control_stops, p_agent text, p_tool text, p_class text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE s.scope WHEN 'tenant' THEN true WHEN 'agent' THEN s.target = p_agent WHEN 'tool' THEN s.target = p_tool END
    AND (s.state IN ('killed', 'paused') OR p_class <> 'read');
$$;

-- What a run under this stop shows. There is no state of its own for read-only: its reason says what may go on.
CREATE FUNCTION shown_state(p_state text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE p_state WHEN 'read_only' THEN 'paused' ELSE p_state END;
$$;

-- As before, with the stops of tenant, agent and tool; the hardest one answers.
CREATE OR REPLACE FUNCTION refuse_stale(p jsonb, OUT answer jsonb, OUT secret_version int) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  stop text; note text; stopped int; st control_stops; head int; tool tools; g grants; v text;
BEGIN
  SELECT CASE WHEN pc.state <> 'open' THEN pc.state WHEN t.control_state <> 'open' THEN t.control_state WHEN t.status <> 'active' THEN 'paused' END,
         CASE WHEN pc.state <> 'open' THEN pc.note ELSE t.control_note END, t.stops
    INTO stop, note, stopped FROM tenants t, platform_control pc WHERE t.id = app_tenant();
  IF NOT FOUND THEN RAISE EXCEPTION 'tenant or platform row is missing' USING ERRCODE = 'P0002'; END IF;
  IF stop IS NULL AND stopped > 0 THEN
    SELECT s.* INTO st FROM control_stops s
     WHERE s.tenant_id = app_tenant() AND s.resumed_at IS NULL AND stop_covers(s, p->>'agentId', p->>'toolId', p->>'effectClass')
     ORDER BY array_position(ARRAY['killed', 'paused', 'frozen', 'read_only'], s.state), s.at LIMIT 1;
    IF FOUND THEN stop := shown_state(st.state); note := st.reason; END IF;
  END IF;
  IF stop IS NOT NULL THEN
    PERFORM show_run(p->>'runId', stop, jsonb_build_object('message', coalesce(note, format('The tenant is %s.', stop)), 'layer', 'control'));
    answer := jsonb_build_object('kind', 'parked', 'state', stop, 'note', note);
    RETURN;
  END IF;
  SELECT h.version INTO head FROM policy_heads h WHERE h.tenant_id = app_tenant() AND h.profile = p->>'policyProfile';
  IF head IS DISTINCT FROM (p->>'policyVersion')::int THEN answer := '{"kind":"policy_moved"}'; RETURN; END IF;
  SELECT * INTO tool FROM tools t WHERE t.tenant_id = app_tenant() AND t.id = p->>'toolId';
  IF NOT FOUND OR NOT tool.enabled OR tool.version <> (p->>'toolVersion')::int THEN answer := '{"kind":"tool_moved"}'; RETURN; END IF;
  IF p->>'secretName' IS NOT NULL THEN
    -- wide enough: the same run and system, mutate covers read, and the version granted is live and current
    SELECT gr.* INTO g FROM grants gr
     WHERE gr.tenant_id = app_tenant() AND gr.id = p->>'grantId' AND gr.run_id = p->>'runId' AND gr.state = 'active'
       AND gr.system = p->>'system' AND gr.secret_name = p->>'secretName' AND (gr.access = 'mutate' OR p->>'access' = 'read');
    IF FOUND THEN
      SELECT sv.state INTO v FROM secrets s JOIN secret_versions sv ON sv.tenant_id = s.tenant_id AND sv.name = s.name AND sv.version = s.current_version
       WHERE s.tenant_id = app_tenant() AND s.name = g.secret_name AND sv.version = g.secret_version;
    END IF;
    IF v IS DISTINCT FROM 'active' THEN answer := '{"kind":"grant_stale"}'; RETURN; END IF;
    secret_version := g.secret_version;
  END IF;
END $$;

-- Calls that were admitted before a stop or a revocation and whose host may still send: their effect is open, its attempt
-- has not said that it ended, and its host is not fenced. Everything else is settled or can send no further byte, because
-- without a committed admit nothing is sent and after the stop none commits. `abort`: what is under way is broken off;
-- otherwise it may end, and only what has not begun is kept back.
CREATE FUNCTION stopped_calls() RETURNS TABLE (key text, host text, stop text, secret text, secret_version int, abort boolean)
LANGUAGE sql VOLATILE AS $$
  SELECT e.key, e.holder_host, s.id, NULL::text, NULL::int, s.state = 'killed'
    FROM effects e
    JOIN runs r ON r.tenant_id = e.tenant_id AND r.id = e.run_id
    JOIN control_stops s ON s.tenant_id = e.tenant_id AND s.resumed_at IS NULL AND stop_covers(s, r.agent_id, e.tool_id, e.effect_class)
   WHERE e.tenant_id = app_tenant() AND e.state = 'open' AND NOT e.holder_ended
     AND EXISTS (SELECT FROM hosts h WHERE h.id = e.holder_host AND NOT h.fenced)
  UNION ALL
  SELECT e.key, e.holder_host, NULL, g.secret_name, g.secret_version, true
    FROM effects e
    JOIN grants g ON g.tenant_id = e.tenant_id AND g.id = e.grant_id
    JOIN secret_versions v ON v.tenant_id = g.tenant_id AND v.name = g.secret_name AND v.version = g.secret_version
   WHERE e.tenant_id = app_tenant() AND e.state = 'open' AND NOT e.holder_ended
     AND (v.state = 'revoked' OR g.state = 'revoked')
     AND EXISTS (SELECT FROM hosts h WHERE h.id = e.holder_host AND NOT h.fenced);
$$;

-- What one host has to break off or keep back.
CREATE FUNCTION calls_to_stop(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  RETURN (SELECT coalesce(jsonb_agg(jsonb_build_object('key', x.key, 'abort', x.abort)), '[]')
    FROM (SELECT c.key, bool_or(c.abort) AS abort FROM stopped_calls() c WHERE c.host = p->>'host' GROUP BY c.key) x);
END $$;

-- In force: no call is left that a stop is waiting for. One row per stop that is not.
CREATE FUNCTION stops_not_in_force(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  RETURN (SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM (
    SELECT c.stop, count(*) AS calls, array_agg(DISTINCT c.host) AS hosts FROM stopped_calls() c WHERE c.stop IS NOT NULL GROUP BY c.stop) x);
END $$;

-- Waits for every admit in flight; from its commit on none commits that the stop covers.
CREATE FUNCTION stop_calls(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE s control_stops; made boolean; ended int := 0; r record;
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
  IF (p->>'end')::boolean AND NOT s.ends THEN
    UPDATE control_stops SET ends = true WHERE tenant_id = app_tenant() AND id = s.id;
    FOR r IN SELECT x.id FROM runs x WHERE x.tenant_id = app_tenant() AND x.finished_at IS NULL AND (s.scope = 'tenant' OR x.agent_id = s.target) LOOP
      PERFORM request_run(jsonb_build_object('tenantId', p->>'tenantId', 'runId', r.id, 'kind', 'terminate', 'reason', p->>'reason',
        'actor', p->>'actor', 'detail', '{}'::jsonb, 'digest', encode(sha256('{}'::bytea), 'hex')));
      ended := ended + 1;
    END LOOP;
  END IF;
  IF made OR ended > 0 THEN
    PERFORM journal('control', NULL, NULL, jsonb_build_object('change', 'stopped', 'stop', s.id, 'scope', s.scope, 'target', s.target,
      'state', s.state, 'end', p->'end', 'runsEnded', ended, 'by', p->>'actor', 'reason', p->>'reason'));
  END IF;
  PERFORM pg_notify('bulkhead_control', p->>'tenantId');
  RETURN jsonb_build_object('kind', 'stopped', 'id', s.id, 'created', made);
END $$;

-- Lifts one stop and wakes the runs that it may have parked; another stop that covers them parks them again.
CREATE FUNCTION resume_calls(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE s control_stops;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_exclusive();
  SELECT * INTO s FROM control_stops x WHERE x.tenant_id = app_tenant() AND x.id = p->>'id';
  IF NOT FOUND THEN RETURN '{"kind":"not_found"}'; END IF;
  IF s.resumed_at IS NOT NULL THEN RETURN '{"kind":"resumed","created":false}'; END IF;
  UPDATE control_stops SET resumed_at = now(), resumed_by = p->>'actor', resume_reason = p->>'reason' WHERE tenant_id = app_tenant() AND id = s.id;
  UPDATE tenants SET stops = stops - 1 WHERE id = app_tenant();
  -- a run may wait in one call while another one goes on, so its shown state does not tell; a signal to one that waits for nothing does nothing
  INSERT INTO outbox (tenant_id, kind, run_id, payload)
  SELECT app_tenant(), 'signal', r.id, '{"signal":"resume"}' FROM runs r
   WHERE r.tenant_id = app_tenant() AND r.started_at IS NOT NULL AND r.finished_at IS NULL AND (s.scope <> 'agent' OR r.agent_id = s.target);
  PERFORM journal('control', NULL, NULL, jsonb_build_object('change', 'resumed', 'stop', s.id, 'scope', s.scope, 'target', s.target,
    'state', s.state, 'by', p->>'actor', 'reason', p->>'reason'));
  PERFORM pg_notify('bulkhead_outbox', '');
  RETURN '{"kind":"resumed","created":true}';
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['calls_to_stop', 'stops_not_in_force', 'stop_calls', 'resume_calls'] LOOP
    EXECUTE format('ALTER FUNCTION %I(jsonb) SET search_path = public, pg_temp SET enable_seqscan = off', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %I(jsonb) TO bulkhead_app', f);
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION stop_covers(control_stops, text, text, text), shown_state(text), stopped_calls() TO bulkhead_app;
