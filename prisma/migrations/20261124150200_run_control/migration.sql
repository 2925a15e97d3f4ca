-- What people ask of a run (cancel, terminate, signal, reset), and what was done to one from outside. A request is a
-- commitment like a start: it is committed with its order and its record, and the control process carries it out.
CREATE TABLE "run_requests" (
    "tenant_id" TEXT NOT NULL,
    "id" BIGSERIAL NOT NULL,
    "run_id" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "origin" TEXT NOT NULL DEFAULT 'mutation',
    "idempotency_key" TEXT,
    "digest" BYTEA,
    "reason" TEXT NOT NULL,
    "actor" TEXT NOT NULL,
    "detail" JSONB NOT NULL DEFAULT '{}',
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "done_at" TIMESTAMPTZ(3),
    "failure" TEXT,
    "temporal_run_id" TEXT,

    CONSTRAINT "run_requests_pkey" PRIMARY KEY ("tenant_id","id")
);

-- CreateIndex
CREATE UNIQUE INDEX "run_requests_tenant_id_run_id_kind_idempotency_key_key" ON "run_requests"("tenant_id", "run_id", "kind", "idempotency_key");

ALTER TABLE run_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE run_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON run_requests TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
CREATE POLICY control_all ON run_requests TO bulkhead_control USING (true) WITH CHECK (true);
-- The tenant door asks; only the control process says that something is done, or that it came from outside.
GRANT SELECT, INSERT (tenant_id, run_id, kind, idempotency_key, digest, reason, actor, detail) ON run_requests TO bulkhead_app;
GRANT SELECT, UPDATE (done_at, failure, temporal_run_id) ON run_requests TO bulkhead_control;
GRANT INSERT (tenant_id, run_id, kind, origin, reason, actor, done_at, temporal_run_id) ON run_requests TO bulkhead_control;
GRANT USAGE ON SEQUENCE run_requests_id_seq TO bulkhead_app, bulkhead_control;

-- One commit: the request, the order, the record. The same key gives the same request again; without a key, one that is
-- not done yet. A run that ended is open again from here on when it is to be reset, so that its first call finds it so.
CREATE FUNCTION request_run(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
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
ALTER FUNCTION request_run(jsonb) SET search_path = public, pg_temp;
GRANT EXECUTE ON FUNCTION request_run(jsonb) TO bulkhead_app;
