-- The two functions as the migration before this one left them, written out: whoever changes them next starts from here.
CREATE OR REPLACE FUNCTION write_intent(p jsonb, p_window text, p_approval text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE sealed bytea := decode(p->>'request', 'base64');
BEGIN
  INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
    holder_host, holder_token, policy_version, rule, approval_id, grant_id, target, "window", charged, request, deadline_at)
  VALUES (app_tenant(), p->>'key', p->>'runId', p->>'workflowId', p->>'temporalRunId', p->>'toolId', (p->>'toolVersion')::int,
    p->>'effectClass', p->>'idempotency', p->>'host', p->>'token', (p->>'policyVersion')::int, p->>'rule', p_approval, p->>'grantId',
    p->>'target', p_window, 1, sealed, now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000))
  ON CONFLICT (tenant_id, key) DO UPDATE SET state = 'open', outcome = NULL, closed_at = NULL, holder_ended = false, opened_at = now(),
    temporal_run_id = excluded.temporal_run_id, tool_version = excluded.tool_version, effect_class = excluded.effect_class, idempotency = excluded.idempotency,
    holder_host = excluded.holder_host, holder_token = excluded.holder_token, policy_version = excluded.policy_version, rule = excluded.rule,
    approval_id = excluded.approval_id, grant_id = excluded.grant_id, target = excluded.target, "window" = excluded."window",
    charged = 1, request = excluded.request, deadline_at = excluded.deadline_at
    WHERE effects.state = 'released';
  IF NOT FOUND THEN RAISE EXCEPTION 'effect % is neither new nor released', p->>'key'; END IF;
  INSERT INTO journal_records (tenant_id, kind, run_id, key, body) VALUES (app_tenant(), 'intent', p->>'runId', p->>'key',
    jsonb_build_object('toolId', p->>'toolId', 'toolVersion', (p->>'toolVersion')::int,
    'effectClass', p->>'effectClass', 'idempotency', p->>'idempotency', 'target', p->>'target', 'policyVersion', (p->>'policyVersion')::int,
    'rule', p->>'rule', 'approvalId', p_approval, 'grantId', p->>'grantId', 'host', p->>'host', 'digest', p->>'digest',
    'requestDigest', encode(sha256(sealed), 'hex'))
    || CASE WHEN p ? 'observed' THEN jsonb_build_object('observed', p->'observed') ELSE '{}' END
    || CASE WHEN p ? 'costMicros' THEN jsonb_build_object('costMicros', (p->>'costMicros')::bigint) ELSE '{}' END
    || CASE WHEN p ? 'limits' THEN jsonb_build_object('limits', p->'limits') ELSE '{}' END);
END $$;

CREATE OR REPLACE FUNCTION admit(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  e effects; r runs; look record; s record; q record; ap record; l record; c record; approval text; holder_gone boolean;
  cost bigint := coalesce((p->>'costMicros')::bigint, 0); rules int;
BEGIN
  -- first the locks, so that every later statement sees what a kill or a publish committed while we waited
  PERFORM set_config('app.tenant', p->>'tenantId', true), pg_advisory_xact_lock_shared(1, 0),
    pg_advisory_xact_lock_shared(2, hashtext(p->>'tenantId')), pg_advisory_xact_lock(3, hashtext((p->>'tenantId') || '/' || (p->>'key')));
  -- only admit makes entries: under the lock of its key, one that is not there stays away
  SELECT EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND NOT h.fenced) AS host_lives,
         EXISTS (SELECT FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = p->>'key') AS found_effect,
         EXISTS (SELECT FROM journal_records j WHERE j.tenant_id = app_tenant() AND j.seq IS NULL AND j.at < now() - interval '30 seconds') AS lagging,
         x.id IS NOT NULL AND x.finished_at IS NULL AS run_lives,
         coalesce(x.state = 'running' AND x.reason IS NULL, false) AS shown
    INTO look FROM (SELECT) AS one LEFT JOIN runs x ON x.tenant_id = app_tenant() AND x.id = p->>'runId';
  IF NOT look.host_lives THEN RETURN '{"kind":"fenced"}'; END IF;
  IF look.found_effect THEN
    SELECT * INTO e FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' FOR UPDATE;
    IF e.state = 'closed' THEN RETURN closed_answer(e); END IF;
  END IF;
  IF NOT look.run_lives THEN RETURN '{"kind":"run_ended"}'; END IF;
  IF look.lagging THEN RETURN '{"kind":"journal_lagging"}'; END IF;

  IF look.found_effect AND e.state = 'open' AND (e.holder_host, e.holder_token) IS DISTINCT FROM (p->>'host', p->>'token') THEN
    holder_gone := e.holder_ended OR NOT EXISTS (SELECT FROM hosts h WHERE h.id = e.holder_host AND NOT h.fenced);
    IF NOT holder_gone THEN RETURN '{"kind":"held"}'; END IF;
    IF e.idempotency = 'none' OR p->>'idempotency' = 'none' THEN
      -- it may have been sent, and the receiver cannot tell a repeat: never again, charged in full
      PERFORM close_effect(e.key, e.run_id, 'indeterminate', NULL, p->>'host');
      RETURN '{"kind":"indeterminate"}';
    END IF;
  END IF;

  s := refuse_stale(p);
  IF s.answer IS NOT NULL THEN RETURN s.answer; END IF;
  -- which rules of its secret the call is admitted by: a host must not use hosts that it remembers from older ones
  IF s.secret_version IS NOT NULL THEN
    SELECT x.rules_version INTO rules FROM secrets x WHERE x.tenant_id = app_tenant() AND x.name = p->>'secretName';
  END IF;

  IF look.found_effect AND e.state = 'open' THEN
    UPDATE effects SET grant_id = p->>'grantId', tool_version = (p->>'toolVersion')::int, effect_class = p->>'effectClass',
      target = p->>'target', holder_host = p->>'host', holder_token = p->>'token', holder_ended = false, temporal_run_id = p->>'temporalRunId',
      deadline_at = now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000)
     WHERE tenant_id = app_tenant() AND key = e.key;
    PERFORM show_run(p->>'runId', 'running', NULL);
    RETURN jsonb_build_object('kind', 'admitted', 'repeat', holder_gone IS TRUE, 'secretVersion', s.secret_version, 'secretRules', rules);
  END IF;

  IF p->'approval' IS NOT NULL AND jsonb_typeof(p->'approval') = 'object' THEN
    SELECT * INTO ap FROM require_approval(p);
    IF ap.answer IS NOT NULL THEN RETURN ap.answer; END IF;
    approval := ap.approval_id;
  END IF;

  q := reserve_tool_call();
  IF NOT q.granted THEN RETURN refuse_budget(p, q.call_limit, q.call_used); END IF;
  IF cost > 0 THEN
    c := reserve_cost(cost);
    IF NOT c.granted THEN
      PERFORM refund_tool_call(q.call_window, 1);
      RETURN refuse_cost(p, c.cost_limit, c.cost_used);
    END IF;
  END IF;
  IF p->'limits' IS NOT NULL THEN
    SELECT * INTO r FROM runs x WHERE x.tenant_id = app_tenant() AND x.id = p->>'runId';
    SELECT * INTO l FROM reserve_limits(p->'limits', r, p->>'policyProfile');
    IF l.refused IS NOT NULL THEN
      PERFORM refund_tool_call(q.call_window, 1);
      IF cost > 0 THEN PERFORM book_cost(q.call_window, -cost); END IF;
      RETURN refuse_limit(p, l.refused);
    END IF;
  END IF;
  IF approval IS NOT NULL THEN
    UPDATE approvals SET consumed_at = coalesce(consumed_at, now()) WHERE tenant_id = app_tenant() AND id = approval;
  END IF;
  PERFORM write_intent(p, q.call_window, approval);
  IF p->'limits' IS NOT NULL THEN
    UPDATE effects SET reserved = l.taken WHERE tenant_id = app_tenant() AND key = p->>'key';
  END IF;
  IF cost > 0 THEN
    UPDATE effects SET cost_micros = cost WHERE tenant_id = app_tenant() AND key = p->>'key';
  END IF;
  IF NOT look.shown THEN PERFORM show_run(p->>'runId', 'running', NULL); END IF;
  RETURN jsonb_build_object('kind', 'admitted', 'repeat', false, 'secretVersion', s.secret_version, 'secretRules', rules);
END $$;
