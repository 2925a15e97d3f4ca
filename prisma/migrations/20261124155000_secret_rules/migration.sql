-- Who may use a secret, for what, and where it may be sent; and taking that away again, with the number of those it hits.

ALTER TABLE secrets
  ADD COLUMN purpose TEXT NOT NULL DEFAULT '',
  ADD COLUMN bound_hosts TEXT[] NOT NULL DEFAULT '{}',
  -- agent ids, or `class:<quota class>`; NULL: any agent
  ADD COLUMN agents TEXT[],
  -- tool ids; NULL: any tool that names the secret
  ADD COLUMN tools TEXT[],
  -- within 10 s: not every grant writes it
  ADD COLUMN last_granted_at TIMESTAMPTZ(3);
-- The owner of a table sees none of its rows where it is told to obey; for this one statement it is not.
ALTER TABLE secrets NO FORCE ROW LEVEL SECURITY;
UPDATE secrets SET bound_hosts = ARRAY[bound_host];
ALTER TABLE secrets FORCE ROW LEVEL SECURITY;
ALTER TABLE secrets DROP COLUMN bound_host;

CREATE TABLE "secret_revocations" (
    "tenant_id" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "scope" TEXT NOT NULL,
    "secret" TEXT NOT NULL DEFAULT '',
    "version" INTEGER NOT NULL DEFAULT 0,
    "target" TEXT NOT NULL DEFAULT '',
    "versions" INTEGER NOT NULL,
    "grants" INTEGER NOT NULL,
    "calls" INTEGER NOT NULL,
    "reason" TEXT NOT NULL,
    "actor" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "lifted_at" TIMESTAMPTZ(3),
    "lifted_by" TEXT,
    "lift_reason" TEXT,

    CONSTRAINT "secret_revocations_pkey" PRIMARY KEY ("tenant_id","id"),
    CONSTRAINT "secret_revocations_scope" CHECK (scope IN ('secret', 'version', 'agent', 'tool', 'tenant'))
);
CREATE INDEX "secret_revocations_tenant_id_scope_target_idx" ON "secret_revocations"("tenant_id", "scope", "target");
ALTER TABLE secret_revocations ENABLE ROW LEVEL SECURITY;
ALTER TABLE secret_revocations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON secret_revocations TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
GRANT SELECT, INSERT, UPDATE (lifted_at, lifted_by, lift_reason) ON secret_revocations TO bulkhead_app;

SELECT make_erasable('secret_revocations');

-- Which revocation took a grant, so that lifting it gives back exactly those.
ALTER TABLE grants ADD COLUMN revoked_by TEXT;
-- Read with the declaration of the tool, so it costs no call a question.
ALTER TABLE tools ADD COLUMN secrets_revoked BOOLEAN NOT NULL DEFAULT false;

-- As before, and no credential for a tool from which they were taken.
CREATE OR REPLACE FUNCTION refuse_stale(p jsonb, OUT answer jsonb, OUT secret_version int) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  stop text; note text; stopped int; st control_stops; head int; tool tools; g grants; v text;
BEGIN
  SELECT CASE WHEN pc.state <> 'open' THEN pc.state WHEN t.control_state <> 'open' THEN t.control_state WHEN t.status <> 'active' THEN 'paused' END,
         CASE WHEN pc.state <> 'open' THEN pc.note WHEN t.control_state <> 'open' THEN t.control_note
              WHEN t.status <> 'active' THEN format('The tenant is %s.', t.status) END, t.stops
    INTO stop, note, stopped FROM tenants t, platform_control pc WHERE t.id = app_tenant();
  IF NOT FOUND THEN RAISE EXCEPTION 'tenant or platform row is missing' USING ERRCODE = 'P0002'; END IF;
  IF stop IS NULL AND stopped > 0 THEN
    SELECT s.* INTO st FROM control_stops s
     WHERE s.tenant_id = app_tenant() AND s.resumed_at IS NULL AND stop_covers(s, p->>'agentId', p->>'toolId', p->>'effectClass')
     ORDER BY array_position(ARRAY['killed', 'paused', 'frozen', 'read_only'], s.state), s.at LIMIT 1;
    IF FOUND THEN stop := shown_state(st.state); note := st.reason; END IF;
  END IF;
  IF stop IS NOT NULL THEN
    PERFORM show_run(p->>'runId', stop, jsonb_build_object('message', coalesce(note, format('The tenant is %s.', stop)), 'layer', 'control'));
    answer := jsonb_build_object('kind', 'parked', 'state', stop, 'note', note);
    RETURN;
  END IF;
  SELECT h.version INTO head FROM policy_heads h WHERE h.tenant_id = app_tenant() AND h.profile = p->>'policyProfile';
  IF head IS DISTINCT FROM (p->>'policyVersion')::int THEN answer := '{"kind":"policy_moved"}'; RETURN; END IF;
  SELECT * INTO tool FROM tools t WHERE t.tenant_id = app_tenant() AND t.id = p->>'toolId';
  IF NOT FOUND OR NOT tool.enabled OR tool.version <> (p->>'toolVersion')::int THEN answer := '{"kind":"tool_moved"}'; RETURN; END IF;
  IF p->>'secretName' IS NOT NULL THEN
    IF tool.secrets_revoked THEN answer := '{"kind":"grant_stale"}'; RETURN; END IF;
    -- wide enough: the same run and system, mutate covers read, and the version granted is live and current
    SELECT gr.* INTO g FROM grants gr
     WHERE gr.tenant_id = app_tenant() AND gr.id = p->>'grantId' AND gr.run_id = p->>'runId' AND gr.state = 'active'
       AND gr.system = p->>'system' AND gr.secret_name = p->>'secretName' AND (gr.access = 'mutate' OR p->>'access' = 'read');
    IF FOUND THEN
      SELECT sv.state INTO v FROM secrets s JOIN secret_versions sv ON sv.tenant_id = s.tenant_id AND sv.name = s.name AND sv.version = s.current_version
       WHERE s.tenant_id = app_tenant() AND s.name = g.secret_name AND sv.version = g.secret_version;
    END IF;
    IF v IS DISTINCT FROM 'active' THEN answer := '{"kind":"grant_stale"}'; RETURN; END IF;
    secret_version := g.secret_version;
  END IF;
END $$;

-- As before, and who may use the secret is asked of the run's own row. A grant is journalled with name and version.
CREATE OR REPLACE FUNCTION grant_secret(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  t record; s record; g grants; a record; needs text; why text; made boolean;
  -- the first part of a tool's id names the system whose credential is used
  uses text := split_part(p->>'toolId', '.', 1);
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  -- a revocation that commits while we wait is seen by the statements below
  PERFORM lock_tenant_shared(p->>'tenantId');
  SELECT x.spec->'credential'->>'secret' AS secret, x.spec->>'effect' AS effect, x.secrets_revoked INTO t
    FROM tools x WHERE x.tenant_id = app_tenant() AND x.id = p->>'toolId' AND x.enabled;
  IF t.secret IS NULL THEN RETURN '{"kind":"none"}'; END IF;
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
      RETURN jsonb_build_object('kind', 'grant', 'grantId', g.id, 'system', uses, 'access', needs);
    END IF;
    why := format('The use of secret %s by this run was revoked.', t.secret);
  END IF;

  -- there is no call yet, so the record is about the run and the tool
  PERFORM decide(jsonb_build_object('tenantId', p->>'tenantId', 'runId', p->>'runId', 'key', format('grant:%s:%s', p->>'runId', p->>'toolId'),
    'toolId', p->>'toolId', 'kind', 'denied', 'policyVersion', 0, 'reason', jsonb_build_object('message', why, 'layer', 'credentials')));
  RETURN jsonb_build_object('kind', 'denied', 'reason', jsonb_build_object('message', why, 'layer', 'credentials'));
END $$;

-- As before, and calls of a tool from which credentials were taken.
CREATE OR REPLACE FUNCTION stopped_calls() RETURNS TABLE (key text, host text, stop text, secret text, secret_version int, abort boolean)
LANGUAGE sql VOLATILE AS $$
  SELECT e.key, e.holder_host, s.id, NULL::text, NULL::int, s.state = 'killed'
    FROM effects e
    JOIN runs r ON r.tenant_id = e.tenant_id AND r.id = e.run_id
    JOIN control_stops s ON s.tenant_id = e.tenant_id AND s.resumed_at IS NULL AND stop_covers(s, r.agent_id, e.tool_id, e.effect_class)
   WHERE e.tenant_id = app_tenant() AND e.state = 'open' AND NOT e.holder_ended
     AND EXISTS (SELECT FROM hosts h WHERE h.id = e.holder_host AND NOT h.fenced)
  UNION ALL
  SELECT e.key, e.holder_host, NULL, g.secret_name, g.secret_version, true
    FROM effects e
    JOIN grants g ON g.tenant_id = e.tenant_id AND g.id = e.grant_id
    JOIN tools t ON t.tenant_id = e.tenant_id AND t.id = e.tool_id
    JOIN secret_versions v ON v.tenant_id = g.tenant_id AND v.name = g.secret_name AND v.version = g.secret_version
   WHERE e.tenant_id = app_tenant() AND e.state = 'open' AND NOT e.holder_ended
     AND (v.state = 'revoked' OR g.state = 'revoked' OR t.secrets_revoked)
     AND EXISTS (SELECT FROM hosts h WHERE h.id = e.holder_host AND NOT h.fenced);
$$;

-- The grants that a revocation is about.
CREATE FUNCTION revoked_grants(p jsonb) RETURNS TABLE (id text, run_id text) LANGUAGE sql VOLATILE AS $$
  SELECT g.id, g.run_id FROM grants g JOIN runs r ON r.tenant_id = g.tenant_id AND r.id = g.run_id
   WHERE g.tenant_id = app_tenant() AND g.state = 'active' AND CASE p->>'scope'
     WHEN 'secret' THEN g.secret_name = p->>'secret'
     WHEN 'version' THEN g.secret_name = p->>'secret' AND g.secret_version = (p->>'version')::int
     WHEN 'agent' THEN r.agent_id = p->>'target'
     WHEN 'tool' THEN g.system = split_part(p->>'target', '.', 1)
       AND g.secret_name = (SELECT t.spec->'credential'->>'secret' FROM tools t WHERE t.tenant_id = app_tenant() AND t.id = p->>'target')
     WHEN 'tenant' THEN true END;
$$;

-- Counts whom it hits and, unless that is all that was asked, takes the use away: no later admit uses it.
CREATE FUNCTION revoke_secrets(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  q secret_revocations; vs int := 0; gs int; cs int; dry boolean := (p->>'dryRun')::boolean;
  sc text := p->>'scope';
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_exclusive();
  IF sc IN ('secret', 'version') AND NOT EXISTS (SELECT FROM secret_versions x WHERE x.tenant_id = app_tenant() AND x.name = p->>'secret'
       AND (sc = 'secret' OR x.version = (p->>'version')::int))
     OR sc = 'agent' AND NOT EXISTS (SELECT FROM agents x WHERE x.tenant_id = app_tenant() AND x.id = p->>'target')
     OR sc = 'tool' AND NOT EXISTS (SELECT FROM tools x WHERE x.tenant_id = app_tenant() AND x.id = p->>'target') THEN
    RETURN '{"kind":"not_found"}';
  END IF;
  IF sc IN ('secret', 'version') THEN
    SELECT count(*) INTO vs FROM secret_versions x WHERE x.tenant_id = app_tenant() AND x.name = p->>'secret' AND x.state = 'active'
       AND (sc = 'secret' OR x.version = (p->>'version')::int);
  END IF;
  -- grants of runs that have ended are dead already, and nobody wants to hear of them
  SELECT count(*) INTO gs FROM revoked_grants(p) x JOIN runs r ON r.tenant_id = app_tenant() AND r.id = x.run_id AND r.finished_at IS NULL;
  SELECT count(*) INTO cs FROM effects e WHERE e.tenant_id = app_tenant() AND e.state = 'open' AND NOT e.holder_ended
     AND e.grant_id IN (SELECT x.id FROM revoked_grants(p) x) AND (sc <> 'tool' OR e.tool_id = p->>'target');

  -- the same again: the one that is there, unless there is something new to revoke
  SELECT * INTO q FROM secret_revocations x WHERE x.tenant_id = app_tenant() AND x.scope = sc AND x.secret = coalesce(p->>'secret', '')
     AND x.version = coalesce((p->>'version')::int, 0) AND x.target = coalesce(p->>'target', '') AND x.lifted_at IS NULL ORDER BY x.at DESC LIMIT 1;
  IF NOT dry AND FOUND AND (vs = 0 OR sc NOT IN ('secret', 'version')) THEN
    RETURN jsonb_build_object('kind', 'revoked', 'id', q.id, 'versions', q.versions, 'grants', q.grants, 'calls', q.calls);
  END IF;
  IF dry THEN RETURN jsonb_build_object('kind', 'counted', 'versions', vs, 'grants', gs, 'calls', cs); END IF;

  INSERT INTO secret_revocations (tenant_id, id, scope, secret, version, target, versions, grants, calls, reason, actor)
  VALUES (app_tenant(), p->>'id', sc, coalesce(p->>'secret', ''), coalesce((p->>'version')::int, 0), coalesce(p->>'target', ''), vs, gs, cs,
    p->>'reason', p->>'actor');
  IF sc IN ('secret', 'version') THEN
    UPDATE secret_versions SET state = 'revoked' WHERE tenant_id = app_tenant() AND name = p->>'secret'
       AND (sc = 'secret' OR version = (p->>'version')::int);
  ELSIF sc = 'tool' THEN
    UPDATE tools SET secrets_revoked = true WHERE tenant_id = app_tenant() AND id = p->>'target';
  ELSE
    UPDATE grants g SET state = 'revoked', revoked_by = p->>'id' WHERE g.tenant_id = app_tenant() AND g.id IN (SELECT x.id FROM revoked_grants(p) x);
  END IF;
  PERFORM journal('control', NULL, NULL, jsonb_strip_nulls(jsonb_build_object('change', 'secret_revoked', 'revocation', p->>'id', 'scope', sc,
    'secret', p->>'secret', 'version', (p->>'version')::int, 'target', p->>'target', 'versions', vs, 'grants', gs, 'calls', cs,
    'by', p->>'actor', 'reason', p->>'reason')));
  PERFORM pg_notify('bulkhead_control', p->>'tenantId');
  RETURN jsonb_build_object('kind', 'revoked', 'id', p->>'id', 'versions', vs, 'grants', gs, 'calls', cs);
END $$;

-- Hosts that may still send something with what was revoked; none: it is in force.
CREATE FUNCTION revocations_not_in_force(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  RETURN (SELECT coalesce(jsonb_agg(DISTINCT c.host), '[]') FROM stopped_calls() c WHERE c.secret IS NOT NULL);
END $$;

-- What was taken from an agent, a tool or the tenant can be given back; a revoked value is never used again.
CREATE FUNCTION lift_revocation(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
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
    UPDATE grants SET state = 'active', revoked_by = NULL WHERE tenant_id = app_tenant() AND revoked_by = q.id;
  END IF;
  PERFORM journal('control', NULL, NULL, jsonb_build_object('change', 'secret_revocation_lifted', 'revocation', q.id, 'scope', q.scope,
    'target', q.target, 'by', p->>'actor', 'reason', p->>'reason'));
  RETURN '{"kind":"lifted"}';
END $$;

DO $$
DECLARE f text;
BEGIN
  FOREACH f IN ARRAY ARRAY['revoke_secrets', 'revocations_not_in_force', 'lift_revocation'] LOOP
    EXECUTE format('ALTER FUNCTION %I(jsonb) SET search_path = public, pg_temp SET enable_seqscan = off', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %I(jsonb) TO bulkhead_app', f);
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION revoked_grants(jsonb) TO bulkhead_app;

-- Which scopes there are is a fact of one column, and tools read it from there; what a scope names is checked where stops are made.
ALTER TABLE control_stops DROP CONSTRAINT control_stops_scope;
ALTER TABLE control_stops ADD CONSTRAINT control_stops_scope CHECK (scope IN ('tenant', 'agent', 'tool'));
