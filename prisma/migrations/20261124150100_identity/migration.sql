-- Who may act: people by what their issuer calls them, invitations, the scope of a key, and operators of the platform.

ALTER TABLE api_keys
  -- names of permissions as a JSON list: what of the role the key has; null: all of it
  ADD COLUMN permissions jsonb,
  ADD COLUMN workspace_id text,
  ADD COLUMN created_by text NOT NULL DEFAULT 'platform',
  -- who answers for what the key does: `user:<id>`, or the first key of a chain of keys
  ADD COLUMN owner text;

-- `id` is a digest of issuer and subject, so the same person has the same id in each of their tenants.
CREATE TABLE members (
  tenant_id text NOT NULL,
  id text NOT NULL,
  issuer text NOT NULL,
  subject text NOT NULL,
  email text,
  name text,
  role text NOT NULL,
  workspace_id text,
  created_by text NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  removed_at timestamptz(3),
  CONSTRAINT members_pkey PRIMARY KEY (tenant_id, id)
);
-- a person's tenants are looked up before one is chosen
CREATE INDEX members_id_idx ON members (id);

CREATE TABLE invitations (
  tenant_id text NOT NULL,
  id text NOT NULL,
  hash bytea NOT NULL,
  role text NOT NULL,
  workspace_id text,
  -- when given, only a person whose issuer has verified this address may accept
  email text,
  created_by text NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  expires_at timestamptz(3) NOT NULL,
  accepted_at timestamptz(3),
  accepted_by text,
  revoked_at timestamptz(3),
  CONSTRAINT invitations_pkey PRIMARY KEY (tenant_id, id)
);
CREATE UNIQUE INDEX invitations_tenant_id_hash_key ON invitations (tenant_id, hash);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['members', 'invitations'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant_only ON %I TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant())', t);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO bulkhead_app', t);
  END LOOP;
END $$;
-- Authentication reads memberships of all tenants; nobody becomes a member through this door.
CREATE POLICY control_all ON members TO bulkhead_control USING (true) WITH CHECK (true);
GRANT SELECT ON members TO bulkhead_control;

-- Operators of the platform are members of no tenant, so their tables have none and the tenant door cannot see them.
-- An operator is never deleted: the row says who could do what, and when.
CREATE TABLE platform_operators (
  id text NOT NULL,
  -- SHA-256 of the key; null for a person, who is recognised by `id`
  hash bytea,
  issuer text,
  subject text,
  name text NOT NULL,
  created_by text NOT NULL,
  created_at timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  expires_at timestamptz(3),
  revoked_at timestamptz(3),
  last_used_at timestamptz(3),
  CONSTRAINT platform_operators_pkey PRIMARY KEY (id),
  CONSTRAINT platform_operators_is_a_key_or_a_person CHECK ((hash IS NULL) = (issuer IS NOT NULL) AND (issuer IS NULL) = (subject IS NULL))
);
CREATE TABLE operator_sessions (
  hash bytea NOT NULL,
  kind text NOT NULL,
  operator_id text NOT NULL,
  expires_at timestamptz(3) NOT NULL,
  used_at timestamptz(3),
  CONSTRAINT operator_sessions_pkey PRIMARY KEY (hash)
);
GRANT SELECT, INSERT, UPDATE (revoked_at, last_used_at) ON platform_operators TO bulkhead_control;
GRANT SELECT, INSERT, UPDATE (used_at), DELETE ON operator_sessions TO bulkhead_control;

-- Lists of approvals are filtered by the workspace of their run, by the same rules as lists of runs.
ALTER TABLE approvals ADD COLUMN workspace_id text;
UPDATE approvals a SET workspace_id = r.workspace_id FROM runs r WHERE r.tenant_id = a.tenant_id AND r.id = a.run_id;
CREATE FUNCTION workspace_of_run() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  SELECT r.workspace_id INTO NEW.workspace_id FROM runs r WHERE r.tenant_id = NEW.tenant_id AND r.id = NEW.run_id;
  RETURN NEW;
END $$;
CREATE TRIGGER workspace_of_run BEFORE INSERT ON approvals FOR EACH ROW EXECUTE FUNCTION workspace_of_run();

-- A process that keeps streams open hears of every change of who may act, and asks again. The payload names the tenant
-- (empty: the platform's operators); it is a hint, the rows decide.
CREATE FUNCTION tell_access() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('bulkhead_access', coalesce(to_jsonb(NEW)->>TG_ARGV[0], ''));
  RETURN NULL;
END $$;
CREATE TRIGGER tell_access AFTER UPDATE OF role, permissions, workspace_id, owner, expires_at, revoked_at ON api_keys
  FOR EACH ROW EXECUTE FUNCTION tell_access('tenant_id');
CREATE TRIGGER tell_access AFTER UPDATE OF role, workspace_id, removed_at ON members
  FOR EACH ROW EXECUTE FUNCTION tell_access('tenant_id');
CREATE TRIGGER tell_access AFTER UPDATE OF status ON tenants
  FOR EACH ROW EXECUTE FUNCTION tell_access('id');
CREATE TRIGGER tell_access AFTER UPDATE OF revoked_at ON platform_operators
  FOR EACH ROW EXECUTE FUNCTION tell_access('none');

-- Who answers for what `actor` did: a person and all of their keys are one, so nobody approves their own call with a
-- second key.
CREATE FUNCTION responsible_actor(actor text) RETURNS text LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
  SELECT coalesce((SELECT k.owner FROM api_keys k WHERE k.tenant_id = app_tenant() AND k.prefix = substr(actor, 5) AND actor LIKE 'key:%'), actor);
$$;
GRANT EXECUTE ON FUNCTION responsible_actor(text) TO bulkhead_app;

CREATE OR REPLACE FUNCTION decide_approval(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE a approvals;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_shared(p->>'tenantId');
  SELECT * INTO a FROM approvals x WHERE x.tenant_id = app_tenant() AND x.id = p->>'approvalId' FOR UPDATE;
  IF NOT FOUND THEN RETURN '{"kind":"not_found"}'; END IF;
  IF a.state <> 'pending' THEN RETURN jsonb_build_object('kind', 'not_pending', 'state', a.state); END IF;
  IF a.expires_at <= now() THEN RETURN '{"kind":"expired"}'; END IF;
  IF NOT (p->>'role' = ANY (a.approvers)) OR responsible_actor(a.requested_by) = responsible_actor(p->>'decidedBy') THEN
    RETURN '{"kind":"not_approver"}';
  END IF;
  IF p->>'decision' NOT IN ('approved', 'rejected') THEN RAISE EXCEPTION 'unknown decision'; END IF;
  UPDATE approvals SET state = p->>'decision', decided_by = p->>'decidedBy', decided_at = now(), reason = p->>'reason'
   WHERE tenant_id = app_tenant() AND id = a.id;
  INSERT INTO outbox (tenant_id, kind, run_id, payload)
  VALUES (app_tenant(), 'signal', a.run_id, jsonb_build_object('signal', 'approvalDecided', 'approvalId', a.id));
  PERFORM journal('approval', a.run_id, a.key, jsonb_build_object('approvalId', a.id, 'state', p->>'decision', 'by', p->>'decidedBy', 'reason', p->>'reason'));
  PERFORM pg_notify('bulkhead_outbox', '');
  RETURN jsonb_build_object('kind', 'decided', 'runId', a.run_id);
END $$;
