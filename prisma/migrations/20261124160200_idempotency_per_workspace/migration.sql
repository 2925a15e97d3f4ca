-- An idempotency key belongs to the workspace in which the run is started: whoever guesses another workspace's key gets a run of
-- their own, and neither that one's id nor whether there is one.
CREATE UNIQUE INDEX "runs_tenant_id_workspace_id_idempotency_key_key" ON "runs"("tenant_id", "workspace_id", "idempotency_key");
DROP INDEX "runs_tenant_id_idempotency_key_key";

CREATE OR REPLACE FUNCTION accept_run(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE r runs;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_shared(p->>'tenantId');
  INSERT INTO runs (tenant_id, id, workspace_id, agent_id, workflow_type, idempotency_key, input_digest, input, envelope, actor)
  VALUES (app_tenant(), p->>'id', p->>'workspaceId', p->>'agentId', p->>'workflowType', p->>'idempotencyKey', decode(p->>'inputDigest', 'hex'),
    p->'input', p->>'envelope', p->>'actor')
  ON CONFLICT (tenant_id, workspace_id, idempotency_key) DO NOTHING;
  IF FOUND THEN
    INSERT INTO outbox (tenant_id, kind, run_id, payload) VALUES (app_tenant(), 'start', p->>'id', '{}');
    PERFORM journal('run', p->>'id', NULL, jsonb_build_object('state', 'accepted', 'agentId', p->>'agentId', 'actor', p->>'actor', 'inputDigest', p->>'inputDigest'));
    PERFORM pg_notify('bulkhead_outbox', '');
    RETURN jsonb_build_object('kind', 'accepted', 'runId', p->>'id', 'created', true);
  END IF;
  SELECT * INTO r FROM runs x WHERE x.tenant_id = app_tenant() AND x.workspace_id = p->>'workspaceId'
     AND x.idempotency_key = p->>'idempotencyKey';
  IF r.input_digest <> decode(p->>'inputDigest', 'hex') THEN RETURN jsonb_build_object('kind', 'conflict', 'runId', r.id); END IF;
  RETURN jsonb_build_object('kind', 'accepted', 'runId', r.id, 'created', false);
END $$;
