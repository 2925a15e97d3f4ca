-- As before, and whether the tool is called over the tenant's second queue: the run asks this once per tool anyway.
CREATE OR REPLACE FUNCTION grant_secret(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  t record; s record; lane jsonb; g grants; a record; needs text; why text; made boolean;
  -- the first part of a tool's id names the system whose credential is used
  uses text := split_part(p->>'toolId', '.', 1);
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  -- a revocation that commits while we wait is seen by the statements below
  PERFORM lock_tenant_shared(p->>'tenantId');
  SELECT x.spec->'credential'->>'secret' AS secret, x.spec->>'effect' AS effect, x.secrets_revoked,
         (x.spec->>'expensive')::boolean IS TRUE AS expensive INTO t
    FROM tools x WHERE x.tenant_id = app_tenant() AND x.id = p->>'toolId' AND x.enabled;
  lane := CASE WHEN t.expensive THEN '{"expensive":true}' ELSE '{}' END;
  IF t.secret IS NULL THEN RETURN lane || '{"kind":"none"}'; END IF;
  needs := CASE WHEN t.effect = 'read' THEN 'read' ELSE 'mutate' END;

  SELECT x.access, x.current_version AS version, v.state, x.agents, x.tools INTO s
    FROM secrets x LEFT JOIN secret_versions v ON v.tenant_id = x.tenant_id AND v.name = x.name AND v.version = x.current_version
   WHERE x.tenant_id = app_tenant() AND x.name = t.secret;
  -- the run's own row says whose agent it is; what a workflow claims does not count
  SELECT r.agent_id AS id, 'class:' || ag.quota_class AS class INTO a
    FROM runs r LEFT JOIN agents ag ON ag.tenant_id = r.tenant_id AND ag.id = r.agent_id WHERE r.tenant_id = app_tenant() AND r.id = p->>'runId';
  why := CASE
    WHEN s.access IS NULL THEN format('There is no secret %s, which %s needs.', t.secret, p->>'toolId')
    WHEN needs = 'mutate' AND s.access <> 'mutate' THEN
      format('Secret %s may only be used for reading, and %s changes something.', t.secret, p->>'toolId')
    WHEN s.state IS DISTINCT FROM 'active' THEN format('Secret %s is revoked.', t.secret)
    WHEN a.id IS NULL THEN 'There is no such run.'
    WHEN s.tools IS NOT NULL AND NOT p->>'toolId' = ANY (s.tools) THEN format('Secret %s may not be used by %s.', t.secret, p->>'toolId')
    WHEN s.agents IS NOT NULL AND NOT (a.id = ANY (s.agents) OR coalesce(a.class = ANY (s.agents), false)) THEN
      format('Secret %s may not be used by agent %s.', t.secret, a.id)
    WHEN t.secrets_revoked THEN format('The use of secrets by %s was revoked.', p->>'toolId')
    WHEN EXISTS (SELECT FROM secret_revocations x WHERE x.tenant_id = app_tenant() AND x.lifted_at IS NULL
       AND (x.scope = 'tenant' OR x.scope = 'agent' AND x.target = a.id)) THEN format('The use of secrets by agent %s was revoked.', a.id)
  END;
  IF why IS NULL THEN
    INSERT INTO grants (tenant_id, id, run_id, system, access, secret_name, secret_version)
    VALUES (app_tenant(), p->>'newGrantId', p->>'runId', uses, needs, t.secret, s.version)
    ON CONFLICT (tenant_id, run_id, system, access, secret_name, secret_version) DO NOTHING;
    made := FOUND;
    SELECT * INTO g FROM grants x WHERE x.tenant_id = app_tenant() AND x.run_id = p->>'runId' AND x.system = uses
       AND x.access = needs AND x.secret_name = t.secret AND x.secret_version = s.version;
    IF g.state = 'active' THEN
      IF made THEN
        PERFORM journal('grant', p->>'runId', NULL, jsonb_build_object('grantId', g.id, 'secret', t.secret, 'version', s.version, 'access', needs,
          'toolId', p->>'toolId'));
        UPDATE secrets SET last_granted_at = now() WHERE tenant_id = app_tenant() AND name = t.secret
           AND (last_granted_at IS NULL OR last_granted_at < now() - interval '10 seconds');
      END IF;
      RETURN lane || jsonb_build_object('kind', 'grant', 'grantId', g.id, 'system', uses, 'access', needs);
    END IF;
    why := format('The use of secret %s by this run was revoked.', t.secret);
  END IF;

  -- there is no call yet, so the record is about the run and the tool
  PERFORM decide(jsonb_build_object('tenantId', p->>'tenantId', 'runId', p->>'runId', 'key', format('grant:%s:%s', p->>'runId', p->>'toolId'),
    'toolId', p->>'toolId', 'kind', 'denied', 'policyVersion', 0, 'reason', jsonb_build_object('message', why, 'layer', 'credentials')));
  RETURN jsonb_build_object('kind', 'denied', 'reason', jsonb_build_object('message', why, 'layer', 'credentials'));
END $$;
