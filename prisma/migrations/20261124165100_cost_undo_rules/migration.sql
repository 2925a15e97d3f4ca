-- What calls cost is taken from the tenant's day before they are sent, like the calls themselves; what undoes a call is kept with
-- it; and the rules of a secret have a number, so that a host never uses hosts that it remembers from older ones.

ALTER TABLE effects
  -- taken from the day's budget, in millionths; what it really cost once that is known
  ADD COLUMN cost_micros BIGINT NOT NULL DEFAULT 0,
  -- the call that would undo this one, encrypted with the tenant's key; NULL: nothing can
  ADD COLUMN undo BYTEA;
ALTER TABLE secrets ADD COLUMN rules_version INTEGER NOT NULL DEFAULT 1;

-- Without a limit of the tenant's own it is counted and never refused.
CREATE FUNCTION reserve_cost(p_cost bigint, OUT granted boolean, OUT cost_limit bigint, OUT cost_used bigint) LANGUAGE plpgsql VOLATILE AS $$
DECLARE day text := to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD');
BEGIN
  IF p_cost < 0 THEN RAISE EXCEPTION 'a cost is not negative'; END IF;
  SELECT q."limit" INTO cost_limit FROM quotas q WHERE q.tenant_id = app_tenant() AND q.layer = 'cost_micros_per_day';
  INSERT INTO counters AS c (tenant_id, layer, "window", used)
  SELECT app_tenant(), 'cost_micros_per_day', day, p_cost WHERE cost_limit IS NULL OR p_cost <= cost_limit
  ON CONFLICT (tenant_id, layer, "window") DO UPDATE SET used = c.used + excluded.used WHERE cost_limit IS NULL OR c.used + excluded.used <= cost_limit
  RETURNING used INTO cost_used;
  granted := cost_used IS NOT NULL;
  IF NOT granted THEN
    SELECT c.used INTO cost_used FROM counters c WHERE c.tenant_id = app_tenant() AND c.layer = 'cost_micros_per_day' AND c."window" = day;
    cost_used := coalesce(cost_used, 0);
  END IF;
END $$;

-- More or less than was taken, in the window in which it was taken. An answer that cost something although nothing was reserved has no row yet.
CREATE FUNCTION book_cost(p_window text, p_more bigint) RETURNS void LANGUAGE sql VOLATILE AS $$
  INSERT INTO counters AS c (tenant_id, layer, "window", used) VALUES (app_tenant(), 'cost_micros_per_day', p_window, greatest(p_more, 0))
  ON CONFLICT (tenant_id, layer, "window") DO UPDATE SET used = greatest(c.used + p_more, 0);
$$;

CREATE FUNCTION refuse_cost(p jsonb, p_limit bigint, p_used bigint) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  resets text := to_char(date_trunc('day', now() AT TIME ZONE 'UTC') + interval '1 day', 'YYYY-MM-DD"T"HH24:MI:SS"Z"');
  why jsonb := jsonb_build_object('message', format('The call costs %s millionths, and the budget of %s for a day has %s left.',
    p->>'costMicros', p_limit, greatest(p_limit - p_used, 0)),
    'layer', 'cost_micros_per_day', 'limit', p_limit, 'used', p_used, 'resetsAt', resets);
BEGIN
  INSERT INTO decisions (tenant_id, run_id, key, tool_id, kind, policy_version, reason)
  VALUES (app_tenant(), p->>'runId', p->>'key', p->>'toolId', 'budget_exceeded', (p->>'policyVersion')::int, why);
  PERFORM journal('decision', p->>'runId', p->>'key', why || jsonb_build_object('decision', 'budget_exceeded', 'toolId', p->>'toolId'));
  PERFORM show_run(p->>'runId', 'budget_exceeded', why);
  RETURN jsonb_build_object('kind', 'budget_exceeded', 'layer', 'cost_micros_per_day', 'limit', p_limit, 'used', p_used, 'resetsAt', resets);
END $$;

GRANT EXECUTE ON FUNCTION reserve_cost(bigint), book_cost(text, bigint), refuse_cost(jsonb, bigint, bigint) TO bulkhead_app;

-- Lost when the function was replaced.
ALTER FUNCTION grant_secret(jsonb) SET plan_cache_mode = force_generic_plan;

-- As before; the record names what was taken from the budget.
CREATE OR REPLACE FUNCTION write_intent(p jsonb, p_window text, p_approval text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE sealed bytea := decode(p->>'request', 'base64');
BEGIN
  INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
    holder_host, holder_token, policy_version, rule, approval_id, grant_id, target, "window", charged, request, deadline_at)
  VALUES (app_tenant(), p->>'key', p->>'runId', p->>'workflowId', p->>'temporalRunId', p->>'toolId', (p->>'toolVersion')::int,
    p->>'effectClass', p->>'idempotency', p->>'host', p->>'token', (p->>'policyVersion')::int, p->>'rule', p_approval, p->>'grantId',
    p->>'target', p_window, 1, sealed, now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000))
  ON CONFLICT (tenant_id, key) DO UPDATE SET state = 'open', outcome = NULL, closed_at = NULL, holder_ended = false, opened_at = now(),
    temporal_run_id = excluded.temporal_run_id, tool_version = excluded.tool_version, idempotency = excluded.idempotency,
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

-- As before, with what the call cost and what undoes it.
CREATE OR REPLACE FUNCTION close_effect(p_key text, p_run text, p_outcome text, p_result bytea, p_by text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE e effects;
BEGIN
  UPDATE effects SET state = 'closed', outcome = p_outcome, result = p_result, closed_at = now()
   WHERE tenant_id = app_tenant() AND key = p_key RETURNING cost_micros, undo INTO e.cost_micros, e.undo;
  INSERT INTO journal_records (tenant_id, kind, run_id, key, body) VALUES (app_tenant(), 'close', p_run, p_key,
    jsonb_build_object('outcome', p_outcome, 'by', p_by, 'resultDigest', encode(sha256(coalesce(p_result, ''::bytea)), 'hex'))
    || CASE WHEN e.cost_micros > 0 THEN jsonb_build_object('costMicros', e.cost_micros) ELSE '{}' END
    || CASE WHEN e.undo IS NOT NULL THEN jsonb_build_object('undoDigest', encode(sha256(e.undo), 'hex')) ELSE '{}' END);
END $$;

-- As before, with the cost of the call beside the number of calls. A call that costs nothing does nothing for it.
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
    IF e.idempotency = 'none' THEN
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
    UPDATE effects SET holder_host = p->>'host', holder_token = p->>'token', holder_ended = false, temporal_run_id = p->>'temporalRunId',
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

-- As before; what was not sent gives back its cost, and an answer books what it really cost.
CREATE OR REPLACE FUNCTION settle(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE e effects; sealed bytea := decode(p->>'result', 'base64'); actual bigint := (p->>'costMicros')::bigint;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  IF p->>'ending' = 'answered' AND p->'reads' IS NULL AND actual IS NULL AND p->'undo' IS NULL THEN
    UPDATE effects x SET state = 'closed', outcome = p->>'outcome', result = sealed, closed_at = now()
     WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' AND x.state = 'open' AND x.holder_host = p->>'host' AND x.holder_token = p->>'token'
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
  CASE p->>'ending'
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
      UPDATE effects SET holder_ended = true WHERE tenant_id = app_tenant() AND key = e.key;
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
      RAISE EXCEPTION 'unknown ending %', p->>'ending';
  END CASE;
END $$;
