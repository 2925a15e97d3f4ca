-- Looking for what is due reads only runs of agents whose policy removes something: those that another policy keeps for ever would
-- be read again each minute.
DROP INDEX runs_arguments_kept_idx, runs_answers_kept_idx, runs_content_kept_idx;
CREATE INDEX runs_arguments_kept_idx ON runs (tenant_id, agent_id, finished_at)
  WHERE finished_at IS NOT NULL AND (arguments_removed_at IS NULL OR arguments_removed_at < finished_at);
CREATE INDEX runs_answers_kept_idx ON runs (tenant_id, agent_id, finished_at)
  WHERE finished_at IS NOT NULL AND (answers_removed_at IS NULL OR answers_removed_at < finished_at);
CREATE INDEX runs_content_kept_idx ON runs (tenant_id, agent_id, finished_at)
  WHERE finished_at IS NOT NULL AND (content_removed_at IS NULL OR content_removed_at < finished_at);

DROP FUNCTION retention_in_force();
-- As before, for each agent of the profile.
CREATE FUNCTION retention_in_force() RETURNS TABLE (profile text, version int, agent text, what text, days int) LANGUAGE sql STABLE AS $$
  SELECT h.profile, h.version, a.id, v.what, v.days
    FROM policy_heads h
    JOIN policies x ON x.tenant_id = h.tenant_id AND x.profile = h.profile AND x.version = h.version
    JOIN agents a ON a.tenant_id = h.tenant_id AND a.policy_profile = h.profile
   CROSS JOIN LATERAL (SELECT x.document->'settings'->'retention' AS keeps, x.document->'settings'->'audit'->>'arguments' AS audit) s
   CROSS JOIN LATERAL (VALUES
     ('arguments', CASE WHEN s.audit = 'digest' THEN 0 ELSE (s.keeps->>'argumentsDays')::int END),
     ('answers', (s.keeps->>'answersDays')::int),
     ('content', (s.keeps->>'runsDays')::int)) AS v (what, days)
   WHERE h.tenant_id = app_tenant() AND v.days >= 0;
$$;
GRANT EXECUTE ON FUNCTION retention_in_force() TO bulkhead_app;

-- As before, agent by agent; of each the oldest first.
CREATE OR REPLACE FUNCTION remove_content(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  k record; run text; gone jsonb; n int; records int := 0; calls int := (p->>'calls')::int; runs int := (p->>'runs')::int;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  IF NOT pg_try_advisory_xact_lock(4, hashtext(p->>'tenantId')) THEN RETURN '{"kind":"busy"}'; END IF;
  IF NOT EXISTS (SELECT FROM tenants t WHERE t.id = app_tenant() AND t.status = 'active') THEN RETURN '{"kind":"held"}'; END IF;
  FOR k IN SELECT f.*, f.what || '_removed_at' AS mark FROM retention_in_force() f ORDER BY f.agent, f.what LOOP
    FOR run IN EXECUTE format($due$
      SELECT x.id FROM runs x WHERE x.tenant_id = app_tenant() AND x.agent_id = $1
         AND x.finished_at IS NOT NULL AND (x.%1$I IS NULL OR x.%1$I < x.finished_at)
         AND x.finished_at < now() - greatest(make_interval(days => $2), interval '1 minute') AND run_is_over(x)
       ORDER BY x.finished_at LIMIT $3 FOR UPDATE OF x SKIP LOCKED $due$, k.mark) USING k.agent, k.days, runs
    LOOP
      gone := CASE k.what WHEN 'arguments' THEN remove_arguments(run, calls) WHEN 'answers' THEN remove_answers(run, calls) ELSE remove_run_content(run) END;
      n := greatest(coalesce(jsonb_array_length(gone->'calls'), 0), coalesce(jsonb_array_length(gone->'approvals'), 0));
      IF n > 0 OR k.what = 'content' THEN
        PERFORM journal('removal', run, NULL, gone || jsonb_build_object('removed', k.what, 'profile', k.profile, 'policyVersion', k.version, 'afterDays', k.days));
        records := records + 1;
      END IF;
      -- fewer than there was room for: nothing of this kind is left of the run
      IF n < calls THEN
        EXECUTE format('UPDATE runs SET %I = now() WHERE tenant_id = app_tenant() AND id = $1', k.mark) USING run;
      END IF;
      calls := calls - n;
      runs := runs - 1;
      IF calls <= 0 THEN EXIT; END IF;
    END LOOP;
    IF calls <= 0 OR runs <= 0 THEN RETURN jsonb_build_object('kind', 'removed', 'records', records, 'more', true); END IF;
  END LOOP;
  RETURN jsonb_build_object('kind', 'removed', 'records', records, 'more', false);
END $$;
