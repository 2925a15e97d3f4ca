-- The two transactions of one effect and their neighbours. Each is one autocommit call at READ COMMITTED: VOLATILE, so
-- every statement inside sees what was committed before it, and SECURITY INVOKER, so row level security holds inside.
-- Lock classes: 1 platform, 2 tenant, 3 call key. Order: platform, tenant, key, rows.

CREATE FUNCTION lock_tenant_shared(tenant text) RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock_shared(1, 0);
  SELECT pg_advisory_xact_lock_shared(2, hashtext(tenant));
$$;

-- A change of control state, policy, tool or secret waits for every admit in flight and holds off later ones.
CREATE FUNCTION lock_tenant_exclusive() RETURNS void LANGUAGE sql VOLATILE AS $$
  SELECT pg_advisory_xact_lock(2, hashtext(app_tenant()));
$$;

CREATE FUNCTION journal(p_kind text, p_run text, p_key text, p_body jsonb) RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO journal_records (tenant_id, kind, run_id, key, body) VALUES (app_tenant(), p_kind, p_run, p_key, p_body);
$$;

-- The run's visible state, written (and journalled) only when it changes, and never over an end.
CREATE FUNCTION show_run(p_run text, p_state text, p_reason jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE runs SET state = p_state, reason = p_reason
   WHERE tenant_id = app_tenant() AND id = p_run AND finished_at IS NULL
     AND (state <> p_state OR reason IS DISTINCT FROM p_reason);
  IF FOUND THEN
    PERFORM journal('run', p_run, NULL, jsonb_build_object('state', p_state, 'reason', p_reason));
  END IF;
END $$;

-- Layer tool_calls_per_day: one row per UTC day; the conditional update is the reservation.
CREATE FUNCTION reserve_tool_call(OUT granted boolean, OUT call_limit bigint, OUT call_used bigint, OUT call_window text)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  call_window := to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD');
  SELECT q."limit" INTO call_limit FROM quotas q WHERE q.tenant_id = app_tenant() AND q.layer = 'tool_calls_per_day';
  call_limit := coalesce(call_limit, 1000);
  INSERT INTO counters AS c (tenant_id, layer, "window", used)
  SELECT app_tenant(), 'tool_calls_per_day', call_window, 1 WHERE call_limit > 0
  ON CONFLICT (tenant_id, layer, "window") DO UPDATE SET used = c.used + 1 WHERE c.used < call_limit
  RETURNING used INTO call_used;
  granted := call_used IS NOT NULL;
  IF NOT granted THEN
    SELECT c.used INTO call_used FROM counters c
     WHERE c.tenant_id = app_tenant() AND c.layer = 'tool_calls_per_day' AND c."window" = call_window;
    call_used := coalesce(call_used, 0);
  END IF;
END $$;

CREATE FUNCTION refund_tool_call(p_window text, p_count bigint) RETURNS void LANGUAGE sql VOLATILE AS $$
  UPDATE counters SET used = greatest(used - p_count, 0)
   WHERE tenant_id = app_tenant() AND layer = 'tool_calls_per_day' AND "window" = p_window;
$$;

CREATE FUNCTION closed_answer(e effects) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN e.outcome = 'indeterminate' THEN jsonb_build_object('kind', 'indeterminate')
    ELSE jsonb_build_object('kind', 'closed', 'outcome', e.outcome, 'result', replace(encode(e.result, 'base64'), E'\n', '')) END;
$$;

CREATE FUNCTION close_effect(p_key text, p_run text, p_outcome text, p_result bytea, p_by text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE effects SET state = 'closed', outcome = p_outcome, result = p_result, closed_at = now()
   WHERE tenant_id = app_tenant() AND key = p_key;
  PERFORM journal('close', p_run, p_key, jsonb_build_object('outcome', p_outcome, 'by', p_by,
    'resultDigest', encode(sha256(coalesce(p_result, ''::bytea)), 'hex')));
END $$;

-- An approval is bound to the exact call by its digest, and to today's decision by rule and approvers. Returns NULL when
-- the call may go on, else the answer. Same key, same digest: the same row, so a retry asks nobody twice.
CREATE FUNCTION require_approval(p jsonb, OUT answer jsonb, OUT approval_id text) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  o jsonb := p->'approval';
  a approvals;
  wanted text[] := ARRAY(SELECT jsonb_array_elements_text(o->'approvers'));
  why jsonb;
BEGIN
  SELECT * INTO a FROM approvals x
   WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' AND x.digest = decode(p->>'digest', 'hex')
     AND x.rule = p->>'rule' AND x.approvers = wanted
   ORDER BY x.created_at DESC LIMIT 1 FOR UPDATE;
  IF NOT FOUND THEN
    INSERT INTO approvals (tenant_id, id, run_id, key, digest, tool_id, tool_version, target, rule, approvers, request, requested_by, expires_at)
    VALUES (app_tenant(), o->>'newApprovalId', p->>'runId', p->>'key', decode(p->>'digest', 'hex'), p->>'toolId',
      (p->>'toolVersion')::int, p->>'target', p->>'rule', wanted, decode(p->>'request', 'base64'), o->>'requestedBy',
      now() + make_interval(secs => (o->>'expiresInSeconds')::int))
    RETURNING * INTO a;
    why := jsonb_build_object('message', format('Rule %s wants a person to approve this call.', a.rule), 'rule', a.rule, 'approvalId', a.id,
      'resetsAt', to_char(a.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
    INSERT INTO decisions (tenant_id, run_id, key, tool_id, kind, policy_version, reason)
    VALUES (app_tenant(), p->>'runId', p->>'key', p->>'toolId', 'approval_required', (p->>'policyVersion')::int, why);
    PERFORM journal('approval', p->>'runId', p->>'key', jsonb_build_object('approvalId', a.id, 'state', 'pending', 'rule', a.rule,
      'toolId', a.tool_id, 'target', a.target, 'digest', p->>'digest', 'policyVersion', (p->>'policyVersion')::int));
  END IF;
  approval_id := a.id;
  IF a.state = 'rejected' THEN
    answer := jsonb_build_object('kind', 'approval_rejected', 'approvalId', a.id, 'reason', a.reason);
  ELSIF a.consumed_at IS NULL AND a.expires_at <= now() THEN
    answer := jsonb_build_object('kind', 'approval_expired', 'approvalId', a.id);
  ELSIF a.state = 'pending' THEN
    PERFORM show_run(p->>'runId', 'approval_required', jsonb_build_object(
      'message', format('Rule %s wants a person to approve this call.', a.rule), 'rule', a.rule, 'approvalId', a.id,
      'resetsAt', to_char(a.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
    answer := jsonb_build_object('kind', 'approval_required', 'approvalId', a.id,
      'expiresAt', to_char(a.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
  END IF;
END $$;

-- Everything that can make a call stale or stopped, in the order in which it is answered. NULL: nothing does.
CREATE FUNCTION refuse_stale(p jsonb, OUT answer jsonb, OUT secret_version int) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  stop text; note text; head int; tool tools; g grants; v text;
BEGIN
  SELECT CASE WHEN pc.state <> 'open' THEN pc.state WHEN t.control_state <> 'open' THEN t.control_state WHEN t.status <> 'active' THEN 'paused' END,
         CASE WHEN pc.state <> 'open' THEN pc.note ELSE t.control_note END
    INTO stop, note FROM tenants t, platform_control pc WHERE t.id = app_tenant();
  IF NOT FOUND THEN RAISE EXCEPTION 'tenant or platform row is missing' USING ERRCODE = 'P0002'; END IF;
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

-- admit: may this effect happen now? One commit holds the decision, the reservation and the intent.
CREATE FUNCTION admit(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  e effects; r runs; s record; q record; ap record; approval text; found_effect boolean; holder_gone boolean;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  -- first the locks, so that every later statement sees what a kill or a publish committed while we waited
  PERFORM lock_tenant_shared(p->>'tenantId');
  PERFORM pg_advisory_xact_lock(3, hashtext((p->>'tenantId') || '/' || (p->>'key')));
  IF NOT EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND NOT h.fenced) THEN RETURN '{"kind":"fenced"}'; END IF;

  SELECT * INTO e FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' FOR UPDATE;
  found_effect := FOUND;
  IF found_effect AND e.state = 'closed' THEN RETURN closed_answer(e); END IF;

  SELECT * INTO r FROM runs x WHERE x.tenant_id = app_tenant() AND x.id = p->>'runId';
  IF NOT FOUND OR r.finished_at IS NOT NULL THEN RETURN '{"kind":"run_ended"}'; END IF;
  IF EXISTS (SELECT FROM journal_records j WHERE j.tenant_id = app_tenant() AND j.seq IS NULL AND j.at < now() - interval '30 seconds') THEN
    RETURN '{"kind":"journal_lagging"}';
  END IF;

  IF found_effect AND e.state = 'open' AND (e.holder_host, e.holder_token) IS DISTINCT FROM (p->>'host', p->>'token') THEN
    holder_gone := e.holder_ended OR NOT EXISTS (SELECT FROM hosts h WHERE h.id = e.holder_host AND NOT h.fenced);
    IF NOT holder_gone THEN RETURN '{"kind":"held"}'; END IF;
    IF e.idempotency = 'none' THEN
      -- it may have been sent, and the receiver cannot tell a repeat: never again, charged in full
      PERFORM close_effect(e.key, e.run_id, 'indeterminate', NULL, p->>'host');
      RETURN '{"kind":"indeterminate"}';
    END IF;
  END IF;

  SELECT * INTO s FROM refuse_stale(p);
  IF s.answer IS NOT NULL THEN RETURN s.answer; END IF;

  IF found_effect AND e.state = 'open' THEN
    UPDATE effects SET holder_host = p->>'host', holder_token = p->>'token', holder_ended = false, temporal_run_id = p->>'temporalRunId',
      deadline_at = now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000)
     WHERE tenant_id = app_tenant() AND key = e.key;
    PERFORM show_run(p->>'runId', 'running', NULL);
    RETURN jsonb_build_object('kind', 'admitted', 'repeat', holder_gone IS TRUE, 'secretVersion', s.secret_version);
  END IF;

  IF p->'approval' IS NOT NULL AND jsonb_typeof(p->'approval') = 'object' THEN
    SELECT * INTO ap FROM require_approval(p);
    IF ap.answer IS NOT NULL THEN RETURN ap.answer; END IF;
    approval := ap.approval_id;
  END IF;

  SELECT * INTO q FROM reserve_tool_call();
  IF NOT q.granted THEN RETURN refuse_budget(p, q.call_limit, q.call_used); END IF;
  UPDATE approvals SET consumed_at = coalesce(consumed_at, now()) WHERE tenant_id = app_tenant() AND id = approval;
  PERFORM write_intent(p, q.call_window, approval);
  PERFORM show_run(p->>'runId', 'running', NULL);
  RETURN jsonb_build_object('kind', 'admitted', 'repeat', false, 'secretVersion', s.secret_version);
END $$;

CREATE FUNCTION refuse_budget(p jsonb, p_limit bigint, p_used bigint) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  resets text := to_char(date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
  why jsonb := jsonb_build_object('message', format('The daily limit of %s tool calls is used up.', p_limit),
    'layer', 'tool_calls_per_day', 'limit', p_limit, 'used', p_used, 'resetsAt', resets);
BEGIN
  INSERT INTO decisions (tenant_id, run_id, key, tool_id, kind, policy_version, reason)
  VALUES (app_tenant(), p->>'runId', p->>'key', p->>'toolId', 'budget_exceeded', (p->>'policyVersion')::int, why);
  PERFORM journal('decision', p->>'runId', p->>'key', why || jsonb_build_object('decision', 'budget_exceeded', 'toolId', p->>'toolId'));
  PERFORM show_run(p->>'runId', 'budget_exceeded', why);
  RETURN jsonb_build_object('kind', 'budget_exceeded', 'layer', 'tool_calls_per_day', 'limit', p_limit, 'used', p_used, 'resetsAt', resets);
END $$;

CREATE FUNCTION write_intent(p jsonb, p_window text, p_approval text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
    holder_host, holder_token, policy_version, rule, approval_id, grant_id, target, "window", charged, request, deadline_at)
  VALUES (app_tenant(), p->>'key', p->>'runId', p->>'workflowId', p->>'temporalRunId', p->>'toolId', (p->>'toolVersion')::int,
    p->>'effectClass', p->>'idempotency', p->>'host', p->>'token', (p->>'policyVersion')::int, p->>'rule', p_approval, p->>'grantId',
    p->>'target', p_window, 1, decode(p->>'request', 'base64'), now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000))
  ON CONFLICT (tenant_id, key) DO UPDATE SET state = 'open', outcome = NULL, closed_at = NULL, holder_ended = false, opened_at = now(),
    temporal_run_id = excluded.temporal_run_id, tool_version = excluded.tool_version, idempotency = excluded.idempotency,
    holder_host = excluded.holder_host, holder_token = excluded.holder_token, policy_version = excluded.policy_version, rule = excluded.rule,
    approval_id = excluded.approval_id, grant_id = excluded.grant_id, target = excluded.target, "window" = excluded."window",
    charged = 1, request = excluded.request, deadline_at = excluded.deadline_at
    WHERE effects.state = 'released';
  IF NOT FOUND THEN RAISE EXCEPTION 'effect % is neither new nor released', p->>'key'; END IF;
  PERFORM journal('intent', p->>'runId', p->>'key', jsonb_build_object('toolId', p->>'toolId', 'toolVersion', (p->>'toolVersion')::int,
    'effectClass', p->>'effectClass', 'idempotency', p->>'idempotency', 'target', p->>'target', 'policyVersion', (p->>'policyVersion')::int,
    'rule', p->>'rule', 'approvalId', p_approval, 'grantId', p->>'grantId', 'host', p->>'host', 'digest', p->>'digest',
    'requestDigest', encode(sha256(decode(p->>'request', 'base64')), 'hex')));
END $$;

-- settle: how the request ended. Only the holder settles; the same token twice gives the same answer.
CREATE FUNCTION settle(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE e effects;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  SELECT * INTO e FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' FOR UPDATE;
  IF NOT FOUND OR (e.holder_host, e.holder_token) IS DISTINCT FROM (p->>'host', p->>'token')
     OR EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND h.fenced) THEN
    RETURN '{"kind":"not_holder"}';
  END IF;
  IF e.state <> 'open' THEN
    RETURN jsonb_build_object('kind', 'settled', 'state', CASE WHEN e.outcome = 'indeterminate' THEN 'indeterminate' ELSE e.state END);
  END IF;
  CASE p->>'ending'
    WHEN 'not_sent' THEN
      UPDATE effects SET state = 'released', holder_ended = true, charged = 0, closed_at = now() WHERE tenant_id = app_tenant() AND key = e.key;
      PERFORM refund_tool_call(e."window", e.charged);
      PERFORM journal('release', e.run_id, e.key, jsonb_build_object('by', p->>'host'));
      RETURN '{"kind":"settled","state":"released"}';
    WHEN 'unknown' THEN
      IF e.idempotency = 'none' THEN
        PERFORM close_effect(e.key, e.run_id, 'indeterminate', NULL, p->>'host');
        RETURN '{"kind":"settled","state":"indeterminate"}';
      END IF;
      UPDATE effects SET holder_ended = true WHERE tenant_id = app_tenant() AND key = e.key;
      RETURN '{"kind":"settled","state":"open"}';
    WHEN 'answered' THEN
      PERFORM close_effect(e.key, e.run_id, p->>'outcome', decode(p->>'result', 'base64'), p->>'host');
      RETURN '{"kind":"settled","state":"closed"}';
    ELSE
      RAISE EXCEPTION 'unknown ending %', p->>'ending';
  END CASE;
END $$;

-- A refusal before admit (policy, arguments). It takes no key; when the call was answered earlier, that answer stands.
CREATE FUNCTION decide(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE e effects;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_shared(p->>'tenantId');
  SELECT * INTO e FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' AND x.state = 'closed';
  IF FOUND THEN RETURN closed_answer(e); END IF;
  INSERT INTO decisions (tenant_id, run_id, key, tool_id, kind, policy_version, reason)
  VALUES (app_tenant(), p->>'runId', p->>'key', p->>'toolId', p->>'kind', (p->>'policyVersion')::int, p->'reason');
  PERFORM journal('decision', p->>'runId', p->>'key', (p->'reason') || jsonb_build_object('decision', p->>'kind', 'toolId', p->>'toolId',
    'policyVersion', (p->>'policyVersion')::int));
  UPDATE runs SET reason = p->'reason' WHERE tenant_id = app_tenant() AND id = p->>'runId' AND finished_at IS NULL;
  RETURN '{"kind":"recorded"}';
END $$;

-- Accepting work is one commit: the run, the order to start it, the record. The same key gives the same run again.
CREATE FUNCTION accept_run(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE r runs;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_shared(p->>'tenantId');
  INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor)
  VALUES (app_tenant(), p->>'id', p->>'workspaceId', p->>'agentId', p->>'workflowType', p->>'idempotencyKey', decode(p->>'inputDigest', 'hex'),
    p->'input', p->>'envelope', p->>'actor')
  ON CONFLICT (tenant_id, idempotency_key) DO NOTHING;
  IF FOUND THEN
    INSERT INTO outbox (tenant_id, kind, run_id, payload) VALUES (app_tenant(), 'start', p->>'id', '{}');
    PERFORM journal('run', p->>'id', NULL, jsonb_build_object('state', 'accepted', 'agentId', p->>'agentId', 'actor', p->>'actor', 'inputDigest', p->>'inputDigest'));
    PERFORM pg_notify('bulkhead_outbox', '');
    RETURN jsonb_build_object('kind', 'accepted', 'runId', p->>'id', 'created', true);
  END IF;
  SELECT * INTO r FROM runs x WHERE x.tenant_id = app_tenant() AND x.idempotency_key = p->>'idempotencyKey';
  IF r.input_digest <> decode(p->>'inputDigest', 'hex') THEN RETURN jsonb_build_object('kind', 'conflict', 'runId', r.id); END IF;
  RETURN jsonb_build_object('kind', 'accepted', 'runId', r.id, 'created', false);
END $$;

-- A person decides. The row is the decision; the outbox entry only wakes the run.
CREATE FUNCTION decide_approval(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE a approvals;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_shared(p->>'tenantId');
  SELECT * INTO a FROM approvals x WHERE x.tenant_id = app_tenant() AND x.id = p->>'approvalId' FOR UPDATE;
  IF NOT FOUND THEN RETURN '{"kind":"not_found"}'; END IF;
  IF a.state <> 'pending' THEN RETURN jsonb_build_object('kind', 'not_pending', 'state', a.state); END IF;
  IF a.expires_at <= now() THEN RETURN '{"kind":"expired"}'; END IF;
  IF NOT (p->>'role' = ANY (a.approvers)) OR a.requested_by = p->>'decidedBy' THEN RETURN '{"kind":"not_approver"}'; END IF;
  IF p->>'decision' NOT IN ('approved', 'rejected') THEN RAISE EXCEPTION 'unknown decision'; END IF;
  UPDATE approvals SET state = p->>'decision', decided_by = p->>'decidedBy', decided_at = now(), reason = p->>'reason'
   WHERE tenant_id = app_tenant() AND id = a.id;
  INSERT INTO outbox (tenant_id, kind, run_id, payload)
  VALUES (app_tenant(), 'signal', a.run_id, jsonb_build_object('signal', 'approvalDecided', 'approvalId', a.id));
  PERFORM journal('approval', a.run_id, a.key, jsonb_build_object('approvalId', a.id, 'state', p->>'decision', 'by', p->>'decidedBy', 'reason', p->>'reason'));
  PERFORM pg_notify('bulkhead_outbox', '');
  RETURN jsonb_build_object('kind', 'decided', 'runId', a.run_id);
END $$;

-- A publish waits for admits in flight; the new version decides every later one.
CREATE FUNCTION publish_policy(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE next_version int;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_exclusive();
  SELECT coalesce(max(x.version), 0) + 1 INTO next_version FROM policies x WHERE x.tenant_id = app_tenant() AND x.profile = p->>'profile';
  INSERT INTO policies (tenant_id, profile, version, document, published_by, reason)
  VALUES (app_tenant(), p->>'profile', next_version, p->'document', p->>'publishedBy', p->>'reason');
  INSERT INTO policy_heads (tenant_id, profile, version) VALUES (app_tenant(), p->>'profile', next_version)
  ON CONFLICT (tenant_id, profile) DO UPDATE SET version = excluded.version;
  PERFORM journal('control', NULL, NULL, jsonb_build_object('change', 'policy_published', 'profile', p->>'profile', 'version', next_version,
    'by', p->>'publishedBy', 'reason', p->>'reason'));
  RETURN jsonb_build_object('kind', 'published', 'version', next_version);
END $$;

-- Hosts: a fenced id never beats again.
CREATE FUNCTION host_register(p jsonb) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
  INSERT INTO hosts (id) VALUES (p->>'host') RETURNING '{"kind":"ok"}'::jsonb;
$$;

CREATE FUNCTION host_beat(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  UPDATE hosts SET beat = beat + 1 WHERE id = p->>'host' AND NOT fenced;
  RETURN CASE WHEN FOUND THEN '{"kind":"ok"}'::jsonb ELSE '{"kind":"fenced"}'::jsonb END;
END $$;

-- What a session of the role could put in pg_temp must not stand in for a table or function of ours. And a plan that was made
-- while a table was empty would scan it for as long as the connection lives: every look-up here has an index.
DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['admit', 'settle', 'decide', 'accept_run', 'decide_approval', 'publish_policy'] LOOP
    EXECUTE format('ALTER FUNCTION %I(jsonb) SET search_path = public, pg_temp SET enable_seqscan = off', f);
  END LOOP;
END $$;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO bulkhead_app;
