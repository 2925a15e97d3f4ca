-- An index of (tenant_id, run_id) can serve "this tenant's effects" and filter the key, and without statistics, or with
-- those of a smaller day, that looks as cheap to the planner as the primary key: admit and settle then read every effect
-- the tenant ever had, on each call. Led by the run, it still finds a run's effects and no longer stands beside the key.
CREATE INDEX "effects_run_id_tenant_id_idx" ON "effects"("run_id", "tenant_id");
DROP INDEX "effects_tenant_id_run_id_idx";
