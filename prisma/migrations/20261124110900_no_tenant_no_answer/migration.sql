-- `tenant_id = (SELECT app_tenant())` is evaluated when the first row is scanned, so a scan of an empty table without a
-- tenant answered "no rows" where it must raise. A stable function that is compared with a column directly is evaluated
-- by the planner, for its estimate, so the statement fails before any scan; as an index condition it is still evaluated
-- once per scan. Every policy of the tenant door has this form from here on.
DO $$
DECLARE p record; rule text;
BEGIN
  FOR p IN SELECT tablename, policyname FROM pg_policies WHERE schemaname = 'public' AND 'bulkhead_app' = ANY (roles) LOOP
    rule := format('%I = app_tenant()', CASE WHEN p.tablename = 'tenants' THEN 'id' ELSE 'tenant_id' END);
    EXECUTE format('ALTER POLICY %I ON %I USING (%s) WITH CHECK (%s)', p.policyname, p.tablename, rule, rule);
  END LOOP;
END $$;
