-- As before, and a run whose call was held back because its tool rests shows that, until admit shows it running again.
CREATE OR REPLACE FUNCTION decide(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
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
  IF p->>'kind' = 'provider_unavailable' THEN
    PERFORM show_run(p->>'runId', 'provider_unavailable', p->'reason');
  ELSE
    UPDATE runs SET reason = p->'reason' WHERE tenant_id = app_tenant() AND id = p->>'runId' AND finished_at IS NULL;
  END IF;
  RETURN '{"kind":"recorded"}';
END $$;
