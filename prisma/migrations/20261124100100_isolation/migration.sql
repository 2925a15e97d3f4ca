-- Two login roles, neither owner nor BYPASSRLS: bulkhead_app is the tenant door, bulkhead_control the control door.
-- Roles are cluster-wide and a second database (shadow, test) meets them again, hence IF NOT EXISTS. They cannot log in
-- until a launcher gives them a password.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bulkhead_app') THEN
    CREATE ROLE bulkhead_app NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bulkhead_control') THEN
    CREATE ROLE bulkhead_control NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOINHERIT;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
  NULL; -- another database of this cluster is being migrated at the same moment
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO bulkhead_app, bulkhead_control;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- After a transaction-local set_config the setting reads '' on a pooled connection, so '' is as bad as NULL.
-- An error, not an empty result: "no tenant" must never look like "a tenant without rows".
CREATE FUNCTION app_tenant() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog
AS $$
DECLARE tenant text := current_setting('app.tenant', true);
BEGIN
  IF tenant IS NULL OR tenant = '' THEN
    RAISE EXCEPTION 'no tenant is set for this transaction' USING ERRCODE = '42501';
  END IF;
  RETURN tenant;
END $$;
GRANT EXECUTE ON FUNCTION app_tenant() TO bulkhead_app;

-- Row level security on every table with a tenant. (SELECT app_tenant()) is evaluated once per statement, not per row.
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY[
    'tenant_keys', 'workspaces', 'api_keys', 'sessions', 'agents', 'runs', 'outbox', 'policies', 'policy_heads', 'tools',
    'secrets', 'secret_versions', 'grants', 'quotas', 'counters', 'effects', 'decisions', 'approvals',
    'journal_records', 'journal_heads'
  ] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant_only ON %I TO bulkhead_app USING (tenant_id = (SELECT app_tenant())) WITH CHECK (tenant_id = (SELECT app_tenant()))', t);
  END LOOP;
END $$;
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON tenants TO bulkhead_app USING (id = (SELECT app_tenant())) WITH CHECK (id = (SELECT app_tenant()));

-- What the tenant door may do. Journal records and decisions are append-only; effects and runs are never deleted.
GRANT SELECT, INSERT ON tenants, tenant_keys, journal_heads TO bulkhead_app;
GRANT SELECT, INSERT, UPDATE ON workspaces, api_keys, agents, runs, policies, policy_heads, tools, secrets,
  secret_versions, grants, quotas, counters, effects, approvals TO bulkhead_app;
GRANT SELECT, INSERT ON sessions, outbox, decisions, journal_records TO bulkhead_app;
GRANT SELECT ON platform_control TO bulkhead_app, bulkhead_control;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO bulkhead_app, bulkhead_control;
-- Hosts are machines, not tenants. A host raises its beat and can never lift its own fence.
GRANT SELECT, INSERT, UPDATE (beat) ON hosts TO bulkhead_app;

-- What the control door may do: named tables, named columns, all tenants.
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['tenants', 'api_keys', 'sessions', 'runs', 'outbox', 'effects', 'decisions', 'approvals', 'journal_records', 'journal_heads'] LOOP
    EXECUTE format('CREATE POLICY control_all ON %I TO bulkhead_control USING (true) WITH CHECK (true)', t);
    EXECUTE format('GRANT SELECT ON %I TO bulkhead_control', t);
  END LOOP;
END $$;
GRANT UPDATE (status) ON tenants TO bulkhead_control;
GRANT UPDATE (last_used_at) ON api_keys TO bulkhead_control;
GRANT INSERT, UPDATE (used_at), DELETE ON sessions TO bulkhead_control;
GRANT UPDATE (state, reason, result, started_at, finished_at) ON runs TO bulkhead_control;
GRANT UPDATE (due_at, attempts, last_error, delivered_at) ON outbox TO bulkhead_control;
GRANT INSERT ON journal_records TO bulkhead_control;
GRANT UPDATE (seq, prev_hash, hash) ON journal_records TO bulkhead_control;
GRANT UPDATE (seq, hash) ON journal_heads TO bulkhead_control;
GRANT SELECT, UPDATE (fenced) ON hosts TO bulkhead_control;

INSERT INTO platform_control (id, state) VALUES (1, 'open');
