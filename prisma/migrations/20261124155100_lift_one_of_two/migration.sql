-- As before, and a grant that another revocation is about too is not given back: it is that one's from here on.
CREATE OR REPLACE FUNCTION lift_revocation(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE q secret_revocations;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_exclusive();
  SELECT * INTO q FROM secret_revocations x WHERE x.tenant_id = app_tenant() AND x.id = p->>'id';
  IF NOT FOUND THEN RETURN '{"kind":"not_found"}'; END IF;
  IF q.scope IN ('secret', 'version') THEN RETURN '{"kind":"final"}'; END IF;
  IF q.lifted_at IS NOT NULL THEN RETURN '{"kind":"lifted"}'; END IF;
  UPDATE secret_revocations SET lifted_at = now(), lifted_by = p->>'actor', lift_reason = p->>'reason' WHERE tenant_id = app_tenant() AND id = q.id;
  IF q.scope = 'tool' THEN
    UPDATE tools SET secrets_revoked = false WHERE tenant_id = app_tenant() AND id = q.target;
  ELSE
    UPDATE grants g SET state = CASE WHEN h.other IS NULL THEN 'active' ELSE 'revoked' END, revoked_by = h.other
      FROM (SELECT x.id, (SELECT v.id FROM secret_revocations v JOIN runs r ON r.tenant_id = x.tenant_id AND r.id = x.run_id
                           WHERE v.tenant_id = x.tenant_id AND v.lifted_at IS NULL
                             AND (v.scope = 'tenant' OR v.scope = 'agent' AND v.target = r.agent_id) ORDER BY v.at LIMIT 1) AS other
              FROM grants x WHERE x.tenant_id = app_tenant() AND x.revoked_by = q.id) h
     WHERE g.tenant_id = app_tenant() AND g.id = h.id;
  END IF;
  PERFORM journal('control', NULL, NULL, jsonb_build_object('change', 'secret_revocation_lifted', 'revocation', q.id, 'scope', q.scope,
    'target', q.target, 'by', p->>'actor', 'reason', p->>'reason'));
  RETURN '{"kind":"lifted"}';
END $$;
