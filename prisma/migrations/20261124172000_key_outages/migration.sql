-- A host that cannot use a tenant's key takes none of its work and says so here, where the tenant and the platform's operators see it.
CREATE TABLE "key_outages" (
    "tenant_id" TEXT NOT NULL,
    "host" TEXT NOT NULL,
    "since" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "key_outages_pkey" PRIMARY KEY ("tenant_id","host")
);
ALTER TABLE key_outages ENABLE ROW LEVEL SECURITY;
ALTER TABLE key_outages FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON key_outages TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
CREATE POLICY control_reads ON key_outages FOR SELECT TO bulkhead_control USING (true);
GRANT SELECT, INSERT, DELETE ON key_outages TO bulkhead_app;
GRANT SELECT ON key_outages TO bulkhead_control;
SELECT make_erasable('key_outages');

-- Since when a host that lives cannot use the tenant's key; a host that was fenced says nothing any more.
CREATE FUNCTION key_unavailable_since(p_tenant text) RETURNS timestamptz LANGUAGE sql STABLE AS $$
  SELECT min(o.since) FROM key_outages o WHERE o.tenant_id = p_tenant AND EXISTS (SELECT FROM hosts h WHERE h.id = o.host AND NOT h.fenced);
$$;
GRANT EXECUTE ON FUNCTION key_unavailable_since(text) TO bulkhead_app, bulkhead_control;

-- Told by a host when it loses the key and when it has it again; telling it twice changes nothing. Each change is journalled.
CREATE FUNCTION key_outage(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE told boolean;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  IF (p->>'lost')::boolean THEN
    INSERT INTO key_outages (tenant_id, host) VALUES (app_tenant(), p->>'host') ON CONFLICT DO NOTHING;
    told := FOUND;
  ELSE
    DELETE FROM key_outages o WHERE o.tenant_id = app_tenant() AND o.host = p->>'host';
    told := FOUND;
    DELETE FROM key_outages o WHERE o.tenant_id = app_tenant() AND NOT EXISTS (SELECT FROM hosts h WHERE h.id = o.host AND NOT h.fenced);
  END IF;
  IF told THEN
    PERFORM journal('control', NULL, NULL, jsonb_build_object('change', CASE WHEN (p->>'lost')::boolean THEN 'tenant_key_unavailable' ELSE 'tenant_key_available' END,
      'host', p->>'host'));
  END IF;
  RETURN '{"kind":"noted"}';
END $$;
GRANT EXECUTE ON FUNCTION key_outage(jsonb) TO bulkhead_app;
