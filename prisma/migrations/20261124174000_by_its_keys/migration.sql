-- Whether the sealer lags was told by reading every record that it had not sealed yet, of all tenants, at each call: a busy neighbour
-- made everybody's admit slower. What is unsealed now has an index by tenant and age, and the position one of what has a position.
CREATE INDEX journal_records_unsealed_idx ON journal_records (tenant_id, at) WHERE seq IS NULL;
DROP INDEX journal_records_seq_idx;
DROP INDEX journal_records_tenant_id_seq_key;
CREATE UNIQUE INDEX journal_records_tenant_id_seq_key ON journal_records (tenant_id, seq) WHERE seq IS NOT NULL;

-- As before, but in a form that becomes part of the statement: it is asked some twenty times per call. Nothing is set while it runs, so
-- each name says where it is from.
CREATE FUNCTION no_tenant() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION 'no tenant is set for this transaction' USING ERRCODE = '42501';
END $$;
GRANT EXECUTE ON FUNCTION no_tenant() TO bulkhead_app;
CREATE OR REPLACE FUNCTION app_tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN pg_catalog.current_setting('app.tenant', true) OPERATOR(pg_catalog.<>) ''
    THEN pg_catalog.current_setting('app.tenant', true) ELSE public.no_tenant() END;
$$;

-- As before; it reads the columns that it needs, and not the whole declaration of the tool.
CREATE OR REPLACE FUNCTION refuse_stale(p jsonb, OUT answer jsonb, OUT secret_version int) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  stop text; note text; stopped int; st control_stops; head int; tool record; g record; v text;
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
  SELECT t.enabled, t.version, t.secrets_revoked INTO tool FROM tools t WHERE t.tenant_id = app_tenant() AND t.id = p->>'toolId';
  IF NOT FOUND OR NOT tool.enabled OR tool.version <> (p->>'toolVersion')::int THEN answer := '{"kind":"tool_moved"}'; RETURN; END IF;
  IF p->>'secretName' IS NOT NULL THEN
    IF tool.secrets_revoked THEN answer := '{"kind":"grant_stale"}'; RETURN; END IF;
    -- wide enough: the same run and system, mutate covers read, and the version granted is live and current
    SELECT gr.secret_name, gr.secret_version INTO g FROM grants gr
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

-- As before; the result comes as bytes beside the rest, not as text inside it.
DROP FUNCTION settle(jsonb);
CREATE FUNCTION settle(p jsonb, sealed bytea DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE e effects; actual bigint := (p->>'costMicros')::bigint; ending text := p->>'ending';
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  IF ending = 'answered' AND sealed IS NULL THEN RAISE EXCEPTION 'effect % has no result to keep', p->>'key'; END IF;
  IF ending = 'answered' AND p->'reads' IS NULL AND actual IS NULL AND p->'undo' IS NULL THEN
    -- closed_at says the same as the state, for which the planner would read all of the tenant's open entries instead of this one
    UPDATE effects x SET state = 'closed', outcome = p->>'outcome', result = sealed, closed_at = now()
     WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' AND x.closed_at IS NULL AND x.holder_host = p->>'host' AND x.holder_token = p->>'token'
       AND NOT EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND h.fenced)
    RETURNING x.run_id, x.cost_micros INTO e.run_id, e.cost_micros;
    IF FOUND THEN
      INSERT INTO journal_records (tenant_id, kind, run_id, key, body) VALUES (app_tenant(), 'close', e.run_id, p->>'key',
        jsonb_build_object('outcome', p->>'outcome', 'by', p->>'host', 'resultDigest', encode(sha256(sealed), 'hex'))
        || CASE WHEN e.cost_micros > 0 THEN jsonb_build_object('costMicros', e.cost_micros) ELSE '{}' END);
      RETURN '{"kind":"settled","state":"closed"}';
    END IF;
  END IF;
  SELECT * INTO e FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' FOR UPDATE;
  IF NOT FOUND OR (e.holder_host, e.holder_token) IS DISTINCT FROM (p->>'host', p->>'token')
     OR EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND h.fenced) THEN
    RETURN '{"kind":"not_holder"}';
  END IF;
  IF e.state <> 'open' THEN
    RETURN jsonb_build_object('kind', 'settled', 'state', CASE WHEN e.outcome = 'indeterminate' THEN 'indeterminate' ELSE e.state END);
  END IF;
  -- what this attempt did not send, an earlier one may have sent
  IF ending = 'not_sent' AND e.maybe_sent THEN ending := 'unknown'; END IF;
  CASE ending
    WHEN 'not_sent' THEN
      UPDATE effects SET state = 'released', holder_ended = true, charged = 0, cost_micros = 0, reserved = NULL, closed_at = now() WHERE tenant_id = app_tenant() AND key = e.key;
      PERFORM refund_tool_call(e."window", e.charged);
      IF e.reserved IS NOT NULL THEN PERFORM refund_limits(e.reserved); END IF;
      IF e.cost_micros > 0 THEN PERFORM book_cost(e."window", -e.cost_micros); END IF;
      PERFORM journal('release', e.run_id, e.key, jsonb_build_object('by', p->>'host'));
      RETURN '{"kind":"settled","state":"released"}';
    WHEN 'unknown' THEN
      IF e.idempotency = 'none' THEN
        PERFORM close_effect(e.key, e.run_id, 'indeterminate', NULL, p->>'host');
        RETURN '{"kind":"settled","state":"indeterminate"}';
      END IF;
      UPDATE effects SET holder_ended = true, maybe_sent = true WHERE tenant_id = app_tenant() AND key = e.key;
      RETURN '{"kind":"settled","state":"open"}';
    WHEN 'answered' THEN
      -- before the result is given to anybody: from its next call on, the run has read this
      IF p->'reads' IS NOT NULL THEN PERFORM note_reads(e, p->'reads'); END IF;
      -- what it really cost, in full: also above what was reserved, and above the budget
      IF actual <> e.cost_micros THEN PERFORM book_cost(e."window", actual - e.cost_micros); END IF;
      IF actual <> e.cost_micros OR p->'undo' IS NOT NULL THEN
        UPDATE effects SET cost_micros = coalesce(actual, cost_micros), undo = decode(p->>'undo', 'base64')
         WHERE tenant_id = app_tenant() AND key = e.key;
      END IF;
      PERFORM close_effect(e.key, e.run_id, p->>'outcome', sealed, p->>'host');
      RETURN '{"kind":"settled","state":"closed"}';
    ELSE
      RAISE EXCEPTION 'unknown ending %', ending;
  END CASE;
END $$;
GRANT EXECUTE ON FUNCTION settle(jsonb, bytea) TO bulkhead_app;
