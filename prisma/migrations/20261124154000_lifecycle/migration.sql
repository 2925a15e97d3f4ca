-- What is done to a tenant, by whom and why: one row per provisioning, suspension, return and offboarding. The request is
-- the tenant door's, everything after it is the control process's.
CREATE TABLE "lifecycles" (
    "tenant_id" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'requested',
    "steps" JSONB NOT NULL DEFAULT '[]',
    "reason" TEXT NOT NULL,
    "requested_by" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "started_at" TIMESTAMPTZ(3),
    "finished_at" TIMESTAMPTZ(3),
    "grace_seconds" INTEGER NOT NULL DEFAULT 0,
    "grace_until" TIMESTAMPTZ(3),
    "status_before" TEXT,
    "export_file" TEXT,
    "reinstated_by" TEXT,
    "reinstate_reason" TEXT,
    "reinstate_told_at" TIMESTAMPTZ(3),

    CONSTRAINT "lifecycles_pkey" PRIMARY KEY ("tenant_id", "id"),
    CONSTRAINT "lifecycles_kind" CHECK (kind IN ('provision', 'suspend', 'resume', 'offboard')),
    CONSTRAINT "lifecycles_state" CHECK (state IN ('requested', 'running', 'waiting', 'completed', 'reinstated'))
);
-- Two things are never done to one tenant at the same time.
CREATE UNIQUE INDEX "lifecycles_one_open" ON "lifecycles" ("tenant_id") WHERE finished_at IS NULL;
CREATE INDEX "lifecycles_tenant_id_created_at_idx" ON "lifecycles" ("tenant_id", "created_at");

ALTER TABLE lifecycles ENABLE ROW LEVEL SECURITY;
ALTER TABLE lifecycles FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON lifecycles TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
CREATE POLICY control_all ON lifecycles TO bulkhead_control USING (true) WITH CHECK (true);
GRANT SELECT, INSERT (tenant_id, id, kind, reason, requested_by, grace_seconds), UPDATE (reinstated_by, reinstate_reason) ON lifecycles TO bulkhead_app;
GRANT SELECT, INSERT (tenant_id, id, kind, reason, requested_by),
  UPDATE (state, steps, started_at, finished_at, grace_until, status_before, export_file, reinstate_told_at) ON lifecycles TO bulkhead_control;
-- A tenant that returns: its parked runs are woken.
GRANT INSERT (tenant_id, kind, run_id, payload) ON outbox TO bulkhead_control;

ALTER TABLE tenants ADD CONSTRAINT tenants_status
  CHECK (status IN ('provisioning', 'active', 'suspended', 'resuming', 'offboarding', 'erasing', 'offboarded'));

-- One commit: is it possible now, the request, the record. The same request that is open already is the same request.
CREATE FUNCTION request_lifecycle(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  now_is text; open lifecycles; asked text := p->>'kind';
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_exclusive();
  SELECT t.status INTO now_is FROM tenants t WHERE t.id = app_tenant();
  IF NOT FOUND THEN RETURN '{"kind":"not_found"}'; END IF;
  SELECT * INTO open FROM lifecycles l WHERE l.tenant_id = app_tenant() AND l.finished_at IS NULL;
  IF FOUND THEN
    IF asked = 'reinstate' AND open.kind = 'offboard' AND now_is <> 'erasing' THEN
      IF open.reinstated_by IS NOT NULL THEN RETURN jsonb_build_object('kind', 'accepted', 'id', open.id, 'created', false); END IF;
      UPDATE lifecycles SET reinstated_by = p->>'actor', reinstate_reason = p->>'reason' WHERE tenant_id = app_tenant() AND id = open.id;
    ELSIF asked = open.kind THEN
      RETURN jsonb_build_object('kind', 'accepted', 'id', open.id, 'created', false);
    ELSE
      RETURN jsonb_build_object('kind', 'busy', 'with', open.kind);
    END IF;
  ELSE
    -- a status that an earlier attempt has reached already is no obstacle: the steps may be done again
    IF NOT (CASE asked
      WHEN 'provision' THEN now_is = 'provisioning'
      WHEN 'suspend' THEN now_is IN ('active', 'resuming')
      WHEN 'resume' THEN now_is IN ('suspended', 'resuming')
      WHEN 'offboard' THEN now_is IN ('provisioning', 'active', 'suspended', 'resuming')
      ELSE false END)
    THEN RETURN jsonb_build_object('kind', 'not_now', 'status', now_is); END IF;
    INSERT INTO lifecycles (tenant_id, id, kind, reason, requested_by, grace_seconds)
    VALUES (app_tenant(), p->>'id', asked, p->>'reason', p->>'actor', coalesce((p->>'graceSeconds')::int, 0))
    RETURNING * INTO open;
  END IF;
  PERFORM journal('control', NULL, NULL, jsonb_build_object('change', 'tenant_' || asked || '_requested', 'lifecycle', open.id,
    'by', p->>'actor', 'reason', p->>'reason'));
  PERFORM pg_notify('bulkhead_tenants', app_tenant());
  RETURN jsonb_build_object('kind', 'accepted', 'id', open.id, 'created', true);
END $$;
ALTER FUNCTION request_lifecycle(jsonb) SET search_path = public, pg_temp;
GRANT EXECUTE ON FUNCTION request_lifecycle(jsonb) TO bulkhead_app;

-- Moves a tenant from one status to the next and says so in its journal. The tenant's exclusive lock: after this commit no
-- effect is admitted under the old status. Done already is done, any other status is an error.
CREATE FUNCTION move_tenant(p_tenant text, p_from text[], p_to text, p_record jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE now_is text;
BEGIN
  PERFORM pg_advisory_xact_lock(2, hashtext(p_tenant));
  SELECT status INTO now_is FROM tenants WHERE id = p_tenant;
  IF now_is = p_to THEN RETURN; END IF;
  IF now_is IS NULL OR NOT now_is = ANY (p_from) THEN
    RAISE EXCEPTION 'tenant % is %, so it cannot become %', p_tenant, now_is, p_to;
  END IF;
  UPDATE tenants SET status = p_to WHERE id = p_tenant;
  INSERT INTO journal_records (tenant_id, kind, body) VALUES (p_tenant, 'control', p_record || jsonb_build_object('change', 'tenant_' || p_to));
  PERFORM pg_notify('bulkhead_tenants', p_tenant);
END $$;
ALTER FUNCTION move_tenant(text, text[], text, jsonb) SET search_path = public, pg_temp;
GRANT EXECUTE ON FUNCTION move_tenant(text, text[], text, jsonb) TO bulkhead_control;

-- The point of no return, under the lock that a reinstatement takes too: one of the two comes first. Done already is done.
CREATE FUNCTION begin_erasure(p_tenant text, p_lifecycle text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(2, hashtext(p_tenant));
  IF EXISTS (SELECT FROM lifecycles WHERE tenant_id = p_tenant AND id = p_lifecycle AND reinstated_by IS NOT NULL) THEN RETURN false; END IF;
  PERFORM move_tenant(p_tenant, ARRAY['offboarding'], 'erasing', jsonb_build_object('lifecycle', p_lifecycle));
  RETURN true;
END $$;
ALTER FUNCTION begin_erasure(text, text) SET search_path = public, pg_temp;
GRANT EXECUTE ON FUNCTION begin_erasure(text, text) TO bulkhead_control;

-- A tenant that is stopped takes no new work. At the table, so that no way into it can forget to ask.
CREATE FUNCTION refuse_stopped_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT FROM tenants t WHERE t.id = NEW.tenant_id AND t.status IN ('suspended', 'offboarding', 'erasing', 'offboarded')) THEN
    RAISE EXCEPTION 'tenant % takes no work', NEW.tenant_id USING ERRCODE = 'BH001';
  END IF;
  RETURN NEW;
END $$;
ALTER FUNCTION refuse_stopped_tenant() SET search_path = public, pg_temp;
CREATE TRIGGER refuse_stopped_tenant BEFORE INSERT ON runs FOR EACH ROW EXECUTE FUNCTION refuse_stopped_tenant();

-- A parked run says which it is: paused by somebody, or its tenant suspended. Nothing else is changed here.
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

-- Erasing. The control door may delete rows of a tenant that is being erased, of no other, and sees of them whose they are and
-- nothing else. Every table with a tenant is made erasable: a later one by the migration that adds it.
CREATE FUNCTION make_erasable(p_table text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE erased text := format('EXISTS (SELECT FROM tenants t WHERE t.id = %I.tenant_id AND t.status = ''erasing'')', p_table);
BEGIN
  -- the door's own policy is for every command, so the grant alone would open every tenant's rows
  IF NOT has_table_privilege('bulkhead_control', p_table, 'DELETE') THEN
    EXECUTE format('CREATE POLICY erase_only ON %I AS RESTRICTIVE FOR DELETE TO bulkhead_control USING (%s)', p_table, erased);
  END IF;
  EXECUTE format('GRANT SELECT (tenant_id), DELETE ON %I TO bulkhead_control', p_table);
  EXECUTE format('CREATE POLICY erase ON %I FOR DELETE TO bulkhead_control USING (%s)', p_table, erased);
  EXECUTE format('CREATE POLICY erase_see ON %I FOR SELECT TO bulkhead_control USING (%s)', p_table, erased);
END $$;

DO $$
DECLARE t text;
BEGIN
  -- what stays of a tenant: that it was there, what was done to it, and that its keys are gone
  FOR t IN SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ('lifecycles', 'token_keys', 'tenant_keys') LOOP
    PERFORM make_erasable(t);
  END LOOP;
END $$;
