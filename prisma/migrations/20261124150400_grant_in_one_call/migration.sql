-- Which credential a run may use for a tool: the answer, the grant and the record of a refusal in one commit and one round trip.
-- A tool that does not exist, is off or names no credential needs none: the gateway refuses such a call itself and records it.
CREATE FUNCTION grant_secret(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  t record; s record; g grants; needs text; why text;
  -- the first part of a tool's id names the system whose credential is used
  uses text := split_part(p->>'toolId', '.', 1);
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  SELECT x.spec->'credential'->>'secret' AS secret, x.spec->>'effect' AS effect INTO t
    FROM tools x WHERE x.tenant_id = app_tenant() AND x.id = p->>'toolId' AND x.enabled;
  IF t.secret IS NULL THEN RETURN '{"kind":"none"}'; END IF;
  needs := CASE WHEN t.effect = 'read' THEN 'read' ELSE 'mutate' END;

  SELECT x.access, x.current_version AS version, v.state INTO s
    FROM secrets x LEFT JOIN secret_versions v ON v.tenant_id = x.tenant_id AND v.name = x.name AND v.version = x.current_version
   WHERE x.tenant_id = app_tenant() AND x.name = t.secret;
  why := CASE
    WHEN s.access IS NULL THEN format('There is no secret %s, which %s needs.', t.secret, p->>'toolId')
    WHEN needs = 'mutate' AND s.access <> 'mutate' THEN
      format('Secret %s may only be used for reading, and %s changes something.', t.secret, p->>'toolId')
    WHEN s.state IS DISTINCT FROM 'active' THEN format('Secret %s is revoked.', t.secret)
  END;
  IF why IS NULL THEN
    INSERT INTO grants (tenant_id, id, run_id, system, access, secret_name, secret_version)
    VALUES (app_tenant(), p->>'newGrantId', p->>'runId', uses, needs, t.secret, s.version)
    ON CONFLICT (tenant_id, run_id, system, access, secret_name, secret_version) DO NOTHING;
    SELECT * INTO g FROM grants x WHERE x.tenant_id = app_tenant() AND x.run_id = p->>'runId' AND x.system = uses
       AND x.access = needs AND x.secret_name = t.secret AND x.secret_version = s.version;
    IF g.state = 'active' THEN
      RETURN jsonb_build_object('kind', 'grant', 'grantId', g.id, 'system', uses, 'access', needs);
    END IF;
    why := format('The use of secret %s by this run was revoked.', t.secret);
  END IF;

  -- there is no call yet, so the record is about the run and the tool
  PERFORM decide(jsonb_build_object('tenantId', p->>'tenantId', 'runId', p->>'runId', 'key', format('grant:%s:%s', p->>'runId', p->>'toolId'),
    'toolId', p->>'toolId', 'kind', 'denied', 'policyVersion', 0, 'reason', jsonb_build_object('message', why, 'layer', 'credentials')));
  RETURN jsonb_build_object('kind', 'denied', 'reason', jsonb_build_object('message', why, 'layer', 'credentials'));
END $$;

-- as for the other functions of the line: nothing in pg_temp stands in for ours, and each look-up goes by its index
ALTER FUNCTION grant_secret(jsonb) SET search_path = public, pg_temp SET enable_seqscan = off;
GRANT EXECUTE ON FUNCTION grant_secret(jsonb) TO bulkhead_app;
