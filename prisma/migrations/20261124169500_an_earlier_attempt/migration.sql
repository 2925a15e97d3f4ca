-- A repeat that is provably not sent says nothing about the attempt before it, which may have been received. Its entry was released all
-- the same: the books said "not sent", everything was refunded, and whoever called again was given another key.
ALTER TABLE effects
  -- some attempt of this entry may have reached the receiver
  ADD COLUMN maybe_sent BOOLEAN NOT NULL DEFAULT false;

CREATE FUNCTION consume_approval(p_id text) RETURNS void LANGUAGE sql VOLATILE AS $$
  UPDATE approvals SET consumed_at = coalesce(consumed_at, now()) WHERE tenant_id = app_tenant() AND id = p_id;
$$;
GRANT EXECUTE ON FUNCTION consume_approval(text) TO bulkhead_app;

-- As before. A repeat that would go to another place than the attempt before it is never sent: no key means anything there. And what
-- needs an approval needs it for a repeat too; one that this very call consumed passes.
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
    IF e.idempotency = 'none' OR p->>'idempotency' = 'none' OR e.target IS DISTINCT FROM p->>'target' THEN
      -- it may have been sent, and the receiver cannot tell a repeat, or is another one now: never again, charged in full
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

  IF p->'approval' IS NOT NULL AND jsonb_typeof(p->'approval') = 'object' THEN
    SELECT * INTO ap FROM require_approval(p);
    IF ap.answer IS NOT NULL THEN RETURN ap.answer; END IF;
    approval := ap.approval_id;
  END IF;

  IF look.found_effect AND e.state = 'open' THEN
    UPDATE effects SET grant_id = p->>'grantId', tool_version = (p->>'toolVersion')::int, effect_class = p->>'effectClass',
      target = p->>'target', holder_host = p->>'host', holder_token = p->>'token', holder_ended = false, temporal_run_id = p->>'temporalRunId',
      approval_id = coalesce(approval, approval_id), maybe_sent = e.maybe_sent OR holder_gone IS TRUE,
      deadline_at = now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000)
     WHERE tenant_id = app_tenant() AND key = e.key;
    IF approval IS NOT NULL THEN PERFORM consume_approval(approval); END IF;
    PERFORM show_run(p->>'runId', 'running', NULL);
    RETURN jsonb_build_object('kind', 'admitted', 'repeat', e.maybe_sent OR holder_gone IS TRUE, 'secretVersion', s.secret_version, 'secretRules', rules);
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
  IF approval IS NOT NULL THEN PERFORM consume_approval(approval); END IF;
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

-- As before; only what no attempt may have sent is released.
CREATE OR REPLACE FUNCTION settle(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE e effects; sealed bytea := decode(p->>'result', 'base64'); actual bigint := (p->>'costMicros')::bigint; ending text := p->>'ending';
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  IF ending = 'answered' AND p->'reads' IS NULL AND actual IS NULL AND p->'undo' IS NULL THEN
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
