-- What tools were, who changed them and why; and what keeps a tool from being called that is no change of its
-- declaration: a provider that asked for a pause, a breaker, a server that offers something else than was approved.

ALTER TABLE tools
  -- why `enabled` is false, when a person or the platform said so
  ADD COLUMN disabled_reason text,
  -- calls are answered `provider_unavailable` until then; read with the declaration, so it costs no call a question
  ADD COLUMN held_until timestamptz(3),
  -- {kind: 'provider_cooldown' | 'circuit_open', message}
  ADD COLUMN held jsonb,
  -- what an MCP server offers under this name now, when that is not what was approved
  ADD COLUMN offer jsonb;

-- CreateTable
CREATE TABLE "tool_versions" (
    "tenant_id" TEXT NOT NULL,
    "tool_id" TEXT NOT NULL,
    "version" INTEGER NOT NULL,
    "spec" JSONB NOT NULL,
    "actor" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "tool_versions_pkey" PRIMARY KEY ("tenant_id","tool_id","version")
);

-- The owner of a table sees none of its rows where it is told to obey; for this one statement it is not.
ALTER TABLE tools NO FORCE ROW LEVEL SECURITY;
INSERT INTO tool_versions (tenant_id, tool_id, version, spec, actor, reason, at)
  SELECT tenant_id, id, version, spec, 'platform', 'declared before versions were kept', updated_at FROM tools;
ALTER TABLE tools FORCE ROW LEVEL SECURITY;

ALTER TABLE tool_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE tool_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON tool_versions TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
-- history is written and never changed
GRANT SELECT, INSERT ON tool_versions TO bulkhead_app;
