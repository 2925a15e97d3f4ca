-- As before, and who may use the secret, for what, is asked again at each call: a rule that was narrowed since the grant was
-- given, or a tool of the same system that the grant was not given for, finds the grant stale. The broker, asked once more, says why.
CREATE OR REPLACE FUNCTION refuse_stale(p jsonb, OUT answer jsonb, OUT secret_version int) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  stop text; note text; stopped int; st control_stops; head int; tool tools; g grants; v text;
BEGIN
  SELECT CASE WHEN pc.state <> 'open' THEN pc.state WHEN t.control_state <> 'open' THEN t.control_state WHEN t.status <> 'active' THEN 'paused' END,
         CASE WHEN pc.state <> 'open' THEN pc.note WHEN t.control_state <> 'open' THEN t.control_note
              WHEN t.status <> 'active' THEN format('The tenant is %s.', t.status) END, t.stops
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
    IF tool.secrets_revoked THEN answer := '{"kind":"grant_stale"}'; RETURN; END IF;
    -- wide enough: the same run and system, mutate covers read, and the version granted is live and current
    SELECT gr.* INTO g FROM grants gr
     WHERE gr.tenant_id = app_tenant() AND gr.id = p->>'grantId' AND gr.run_id = p->>'runId' AND gr.state = 'active'
       AND gr.system = p->>'system' AND gr.secret_name = p->>'secretName' AND (gr.access = 'mutate' OR p->>'access' = 'read');
    IF FOUND THEN
      -- a grant is of a system, and the secret's own rules may name single tools and agents: they are asked as they are now
      SELECT sv.state INTO v FROM secrets s JOIN secret_versions sv ON sv.tenant_id = s.tenant_id AND sv.name = s.name AND sv.version = s.current_version
       WHERE s.tenant_id = app_tenant() AND s.name = g.secret_name AND sv.version = g.secret_version
         AND (s.access = 'mutate' OR p->>'access' = 'read')
         AND (s.tools IS NULL OR p->>'toolId' = ANY (s.tools))
         AND (s.agents IS NULL OR EXISTS (
           SELECT FROM runs r LEFT JOIN agents ag ON ag.tenant_id = r.tenant_id AND ag.id = r.agent_id
            WHERE r.tenant_id = app_tenant() AND r.id = p->>'runId' AND (r.agent_id = ANY (s.agents) OR 'class:' || ag.quota_class = ANY (s.agents))));
    END IF;
    IF v IS DISTINCT FROM 'active' THEN answer := '{"kind":"grant_stale"}'; RETURN; END IF;
    secret_version := g.secret_version;
  END IF;
END $$;
