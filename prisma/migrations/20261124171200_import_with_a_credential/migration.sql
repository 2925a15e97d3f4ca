-- A server that shows its tools to known callers only: the order names a secret of the tenant and the header that it goes into, never a
-- value. The host that has taken the order gets it for the one list, under the same locks as an admit; while it has it, a revocation is
-- not in force yet.
ALTER TABLE mcp_imports
  ADD COLUMN credential JSONB,
  -- who has it in memory now
  ADD COLUMN leased_host TEXT,
  ADD COLUMN leased_version INTEGER;
GRANT UPDATE (leased_host, leased_version) ON mcp_imports TO bulkhead_app;

CREATE FUNCTION lease_for_import(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE i mcp_imports; s record; stop record; wanted text; why text;
BEGIN
  -- first the locks, as in admit: a stop or a revocation that commits while we wait is seen below
  PERFORM set_config('app.tenant', p->>'tenantId', true), pg_advisory_xact_lock_shared(1, 0),
    pg_advisory_xact_lock_shared(2, hashtext(p->>'tenantId'));
  SELECT x.* INTO i FROM mcp_imports x WHERE x.tenant_id = app_tenant() AND x.id = p->>'id' AND x.state = 'taken' FOR UPDATE;
  IF NOT FOUND OR i.credential IS NULL THEN RETURN '{"kind":"not_ordered"}'; END IF;
  IF NOT EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND NOT h.fenced) THEN RETURN '{"kind":"fenced"}'; END IF;
  wanted := i.credential->>'secret';
  SELECT x.current_version AS version, x.rules_version AS rules, x.agents, x.tools, v.state INTO s
    FROM secrets x LEFT JOIN secret_versions v ON v.tenant_id = x.tenant_id AND v.name = x.name AND v.version = x.current_version
   WHERE x.tenant_id = app_tenant() AND x.name = wanted;
  stop := refuse_stale('{"effectClass":"read"}');
  why := CASE
    WHEN stop.answer->>'kind' = 'parked' THEN format('The tenant is %s.', stop.answer->>'state')
    WHEN s.version IS NULL THEN format('There is no secret %s.', wanted)
    WHEN s.state IS DISTINCT FROM 'active' THEN format('Secret %s is revoked.', wanted)
    -- an import is made by no agent
    WHEN s.agents IS NOT NULL THEN format('Secret %s may only be used by the agents that it names.', wanted)
    WHEN s.tools IS NOT NULL AND NOT EXISTS (SELECT FROM unnest(s.tools) AS t WHERE starts_with(t, i.system || '.')) THEN
      format('Secret %s may not be used by tools of %s.', wanted, i.system)
    WHEN EXISTS (SELECT FROM secret_revocations x WHERE x.tenant_id = app_tenant() AND x.lifted_at IS NULL AND x.scope = 'tenant') THEN
      'The use of secrets was revoked.'
  END;
  PERFORM journal('control', NULL, NULL, jsonb_strip_nulls(jsonb_build_object(
    'change', CASE WHEN why IS NULL THEN 'mcp_import_credential' ELSE 'mcp_import_credential_refused' END,
    'import', i.id, 'secret', wanted, 'version', s.version, 'host', p->>'host', 'by', i.actor, 'message', why)));
  IF why IS NOT NULL THEN RETURN jsonb_build_object('kind', 'refused', 'message', why); END IF;
  UPDATE mcp_imports SET leased_host = p->>'host', leased_version = s.version WHERE tenant_id = app_tenant() AND id = i.id;
  UPDATE secrets SET last_granted_at = now() WHERE tenant_id = app_tenant() AND name = wanted;
  RETURN jsonb_build_object('kind', 'leased', 'name', wanted, 'version', s.version, 'rules', s.rules);
END $$;
GRANT EXECUTE ON FUNCTION lease_for_import(jsonb) TO bulkhead_app;

-- As before, and a list that is being asked for with what was revoked.
CREATE OR REPLACE FUNCTION revocations_not_in_force(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  RETURN (SELECT coalesce(jsonb_agg(DISTINCT u.host), '[]') FROM (
    SELECT c.host FROM stopped_calls() c WHERE c.secret IS NOT NULL
    UNION ALL
    SELECT i.leased_host FROM mcp_imports i
      JOIN hosts h ON h.id = i.leased_host AND NOT h.fenced
      JOIN secret_versions v ON v.tenant_id = i.tenant_id AND v.name = i.credential->>'secret' AND v.version = i.leased_version
     WHERE i.tenant_id = app_tenant() AND (v.state <> 'active' OR EXISTS (
       SELECT FROM secret_revocations r WHERE r.tenant_id = i.tenant_id AND r.scope = 'tenant' AND r.lifted_at IS NULL))) u);
END $$;
