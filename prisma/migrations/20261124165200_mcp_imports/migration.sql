-- What an MCP server offers, taken over as tools that are off. A host does it, because only hosts reach servers.
CREATE TABLE "mcp_imports" (
    "tenant_id" TEXT NOT NULL,
    "id" TEXT NOT NULL,
    "system" TEXT NOT NULL,
    "server" JSONB NOT NULL,
    -- asked | taken | done | failed
    "state" TEXT NOT NULL DEFAULT 'asked',
    "actor" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "asked_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "taken_at" TIMESTAMPTZ(3),
    "ended_at" TIMESTAMPTZ(3),
    -- what was new, changed or left out, by tool
    "changes" JSONB,
    "message" TEXT,

    CONSTRAINT "mcp_imports_pkey" PRIMARY KEY ("tenant_id","id")
);
ALTER TABLE mcp_imports ENABLE ROW LEVEL SECURITY;
ALTER TABLE mcp_imports FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON mcp_imports TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
GRANT SELECT, INSERT, UPDATE (state, taken_at, ended_at, changes, message) ON mcp_imports TO bulkhead_app;
SELECT make_erasable('mcp_imports');
