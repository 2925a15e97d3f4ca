-- A policy may say that whoever reads the content of a run through the API is recorded: one record for each run of one answer, committed
-- before anything of it is told. What a document says that is not known here counts as "recorded".
CREATE FUNCTION note_reads(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE noted int;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  WITH recorded AS MATERIALIZED (
    SELECT h.profile, h.version FROM policy_heads h JOIN policies x ON x.tenant_id = h.tenant_id AND x.profile = h.profile AND x.version = h.version
     WHERE h.tenant_id = app_tenant() AND coalesce(x.document#>>'{settings,audit,reads}', 'unrecorded') <> 'unrecorded'
  ), told AS (
    SELECT x->>'runId' AS run, jsonb_agg(DISTINCT x->'what') AS what, jsonb_agg(DISTINCT x->'approvalId') FILTER (WHERE x ? 'approvalId') AS approvals
      FROM jsonb_array_elements(p->'reads') AS x GROUP BY 1
  )
  INSERT INTO journal_records (tenant_id, kind, run_id, body)
  SELECT app_tenant(), 'control', t.run, jsonb_build_object('change', 'content_read', 'actor', p->>'actor', 'what', t.what,
         'profile', w.profile, 'policyVersion', w.version) || CASE WHEN t.approvals IS NULL THEN '{}' ELSE jsonb_build_object('approvals', t.approvals) END
    FROM told t JOIN runs r ON r.tenant_id = app_tenant() AND r.id = t.run
    JOIN agents a ON a.tenant_id = app_tenant() AND a.id = r.agent_id JOIN recorded w ON w.profile = a.policy_profile;
  GET DIAGNOSTICS noted = ROW_COUNT;
  RETURN jsonb_build_object('noted', noted);
END $$;
GRANT EXECUTE ON FUNCTION note_reads(jsonb) TO bulkhead_app;
