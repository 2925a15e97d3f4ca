-- Which generations of a tenant's token key exist. The keys themselves are derived by the control process from its root
-- secret; what is `dropped` here is left out of the set that the Temporal server reads, and its tokens open nothing more.
-- The platform's own keys have the tenant `_system`, which is no tenant id.
CREATE TABLE "token_keys" (
    "tenant_id" TEXT NOT NULL,
    "generation" INTEGER NOT NULL,
    "state" TEXT NOT NULL DEFAULT 'publishing',
    "created_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "retires_at" TIMESTAMPTZ(3),

    CONSTRAINT "token_keys_pkey" PRIMARY KEY ("tenant_id", "generation"),
    CONSTRAINT "token_keys_state" CHECK (state IN ('publishing', 'current', 'retiring', 'dropped'))
);
-- Tokens are minted with one key, and one at most waits to take over.
CREATE UNIQUE INDEX "token_keys_one_current" ON "token_keys" ("tenant_id") WHERE state = 'current';
CREATE UNIQUE INDEX "token_keys_one_publishing" ON "token_keys" ("tenant_id") WHERE state = 'publishing';

ALTER TABLE token_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE token_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON token_keys TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
CREATE POLICY control_all ON token_keys TO bulkhead_control USING (true) WITH CHECK (true);
GRANT SELECT ON token_keys TO bulkhead_app;
GRANT SELECT, INSERT, UPDATE (state, retires_at) ON token_keys TO bulkhead_control;

-- A host that appears gets its tokens at once.
CREATE OR REPLACE FUNCTION host_register(p jsonb) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
  INSERT INTO hosts (id) VALUES (p->>'host');
  SELECT pg_notify('bulkhead_tenants', '');
  SELECT '{"kind":"ok"}'::jsonb;
$$;
