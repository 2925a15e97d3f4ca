-- As before, and also of a run whose answers are said to be gone although no call of it shows that: what it says to people must hold.
CREATE OR REPLACE FUNCTION request_run(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp AS $$
DECLARE
  r runs; q run_requests; asked text := p->>'kind'; request bigint;
  resetting jsonb := '{"message":"The run is being reset."}';
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_shared(p->>'tenantId');
  SELECT * INTO r FROM runs x WHERE x.tenant_id = app_tenant() AND x.id = p->>'runId' FOR UPDATE;
  IF NOT FOUND THEN RETURN '{"kind":"not_found"}'; END IF;

  IF p->>'idempotencyKey' IS NOT NULL THEN
    SELECT * INTO q FROM run_requests x WHERE x.tenant_id = app_tenant() AND x.run_id = r.id AND x.kind = asked
       AND x.idempotency_key = p->>'idempotencyKey';
  ELSE
    SELECT * INTO q FROM run_requests x WHERE x.tenant_id = app_tenant() AND x.run_id = r.id AND x.kind = asked
       AND x.done_at IS NULL AND x.idempotency_key IS NULL LIMIT 1;
  END IF;
  IF FOUND THEN
    IF q.digest IS DISTINCT FROM decode(p->>'digest', 'hex') THEN RETURN '{"kind":"conflict"}'; END IF;
    RETURN jsonb_build_object('kind', 'accepted', 'created', false);
  END IF;

  IF asked = 'reset' THEN
    IF r.started_at IS NULL THEN RETURN '{"kind":"not_started"}'; END IF;
    IF r.answers_removed_at IS NOT NULL OR EXISTS (SELECT FROM effects e WHERE e.run_id = r.id AND e.tenant_id = app_tenant() AND e.state = 'closed' AND e.result IS NULL
         AND e.outcome <> 'indeterminate') THEN
      RETURN '{"kind":"answers_removed"}';
    END IF;
    IF EXISTS (SELECT FROM run_requests x WHERE x.tenant_id = app_tenant() AND x.run_id = r.id AND x.kind = 'reset' AND x.done_at IS NULL) THEN
      RETURN '{"kind":"resetting"}';
    END IF;
  ELSIF asked NOT IN ('cancel', 'terminate', 'signal') THEN
    RAISE EXCEPTION 'unknown request %', asked;
  ELSIF r.finished_at IS NOT NULL THEN
    RETURN '{"kind":"finished"}';
  END IF;

  INSERT INTO run_requests (tenant_id, run_id, kind, idempotency_key, digest, reason, actor, detail)
  VALUES (app_tenant(), r.id, asked, p->>'idempotencyKey', decode(p->>'digest', 'hex'), p->>'reason', p->>'actor', p->'detail')
  RETURNING id INTO request;
  INSERT INTO outbox (tenant_id, kind, run_id, payload) VALUES (app_tenant(), asked, r.id, jsonb_build_object('request', request::text));
  PERFORM journal('control', r.id, NULL, jsonb_build_object('change', 'run_' || asked, 'state', 'requested', 'request', request::text,
    'by', p->>'actor', 'reason', p->>'reason') || coalesce(p->'shown', '{}'));
  IF asked = 'reset' AND r.finished_at IS NOT NULL THEN
    UPDATE runs SET state = 'running', reason = resetting, result = NULL, finished_at = NULL WHERE tenant_id = app_tenant() AND id = r.id;
    PERFORM journal('run', r.id, NULL, jsonb_build_object('state', 'running', 'reason', resetting));
  END IF;
  PERFORM pg_notify('bulkhead_outbox', '');
  PERFORM pg_notify('bulkhead_runs', json_build_array(json_build_object('tenantId', p->>'tenantId', 'runId', r.id))::text);
  RETURN jsonb_build_object('kind', 'accepted', 'created', true);
END $$;
