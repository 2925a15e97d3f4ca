-- A policy may say how long the content of ended runs is kept: the arguments of their calls, the answers, and what a run was given
-- and gave back. It is removed through the tenant's own door; the journal, its digests and its chain stay.
ALTER TABLE runs
  ADD COLUMN arguments_removed_at TIMESTAMPTZ(3),
  ADD COLUMN answers_removed_at TIMESTAMPTZ(3),
  ADD COLUMN content_removed_at TIMESTAMPTZ(3);
ALTER TABLE approvals
  ALTER COLUMN request DROP NOT NULL,
  ADD COLUMN request_removed_at TIMESTAMPTZ(3);
-- What is still to be looked at, and nothing else: a run that was opened again afterwards is, once it has ended again.
CREATE INDEX runs_arguments_kept_idx ON runs (tenant_id, finished_at)
  WHERE finished_at IS NOT NULL AND (arguments_removed_at IS NULL OR arguments_removed_at < finished_at);
CREATE INDEX runs_answers_kept_idx ON runs (tenant_id, finished_at)
  WHERE finished_at IS NOT NULL AND (answers_removed_at IS NULL OR answers_removed_at < finished_at);
CREATE INDEX runs_content_kept_idx ON runs (tenant_id, finished_at)
  WHERE finished_at IS NOT NULL AND (content_removed_at IS NULL OR content_removed_at < finished_at);
-- led by the run: led by the tenant it would compete with the key for the line's look-ups
CREATE INDEX approvals_request_kept_idx ON approvals (run_id, tenant_id) WHERE request IS NOT NULL;

-- The tenant door may take what a signal carried out of a request that is done. It changes nothing else of one.
GRANT UPDATE (detail) ON run_requests TO bulkhead_app;
CREATE FUNCTION only_takes_arguments_out() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF old.done_at IS NULL OR new.detail IS DISTINCT FROM old.detail - 'args' THEN
    RAISE EXCEPTION 'of request % only the arguments may be taken out, once it is done', old.id;
  END IF;
  RETURN new;
END $$;
CREATE TRIGGER only_takes_arguments_out BEFORE UPDATE OF detail ON run_requests FOR EACH ROW EXECUTE FUNCTION only_takes_arguments_out();

-- Whether nothing can need the content of a run that has ended: it and the run that it belongs to are over, nobody has asked to open
-- it again, and it left no effect of which nobody knows yet how it ended.
CREATE FUNCTION run_is_over(r runs) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT r.finished_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM runs o WHERE o.tenant_id = app_tenant() AND o.id = root_run(r.id) AND o.finished_at IS NULL)
    AND NOT EXISTS (SELECT FROM run_requests q WHERE q.tenant_id = app_tenant() AND q.run_id = r.id AND q.done_at IS NULL)
    AND NOT EXISTS (SELECT FROM effects e WHERE e.run_id = r.id AND e.tenant_id = app_tenant() AND e.state = 'open');
$$;
GRANT EXECUTE ON FUNCTION run_is_over(runs) TO bulkhead_app;

-- Arguments of calls, and of the calls that would undo them. Returns what was removed, at most p_max of each kind.
CREATE FUNCTION remove_arguments(p_run text, p_max int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE calls text[]; asked text[];
BEGIN
  WITH old AS (
    SELECT e.key FROM effects e WHERE e.run_id = p_run AND e.tenant_id = app_tenant() AND (e.request IS NOT NULL OR e.undo IS NOT NULL) LIMIT p_max
  ), gone AS (
    UPDATE effects e SET request = NULL, undo = NULL FROM old WHERE e.tenant_id = app_tenant() AND e.key = old.key RETURNING e.key
  ) SELECT coalesce(array_agg(key ORDER BY key), '{}') INTO calls FROM gone;
  WITH old AS (
    SELECT a.id FROM approvals a WHERE a.run_id = p_run AND a.tenant_id = app_tenant() AND a.request IS NOT NULL AND a.state <> 'pending' LIMIT p_max
  ), gone AS (
    UPDATE approvals a SET request = NULL, request_removed_at = now() FROM old WHERE a.tenant_id = app_tenant() AND a.id = old.id RETURNING a.id
  ) SELECT coalesce(array_agg(id ORDER BY id), '{}') INTO asked FROM gone;
  RETURN jsonb_build_object('calls', to_jsonb(calls), 'approvals', to_jsonb(asked));
END $$;
GRANT EXECUTE ON FUNCTION remove_arguments(text, int) TO bulkhead_app;

-- Answers of calls. A call that would undo one may hold parts of its answer.
CREATE FUNCTION remove_answers(p_run text, p_max int) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE calls text[];
BEGIN
  WITH old AS (
    SELECT e.key FROM effects e WHERE e.run_id = p_run AND e.tenant_id = app_tenant() AND (e.result IS NOT NULL OR e.undo IS NOT NULL) LIMIT p_max
  ), gone AS (
    UPDATE effects e SET result = NULL, undo = NULL FROM old WHERE e.tenant_id = app_tenant() AND e.key = old.key RETURNING e.key
  ) SELECT coalesce(array_agg(key ORDER BY key), '{}') INTO calls FROM gone;
  RETURN jsonb_build_object('calls', to_jsonb(calls));
END $$;
GRANT EXECUTE ON FUNCTION remove_answers(text, int) TO bulkhead_app;

-- What the run was started with, what signals carried to it, and what it gave back.
CREATE FUNCTION remove_run_content(p_run text) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE signals int;
BEGIN
  UPDATE runs SET input = 'null', result = NULL WHERE tenant_id = app_tenant() AND id = p_run;
  UPDATE run_requests SET detail = detail - 'args' WHERE tenant_id = app_tenant() AND run_id = p_run AND done_at IS NOT NULL AND detail ? 'args';
  GET DIAGNOSTICS signals = ROW_COUNT;
  RETURN jsonb_build_object('signals', signals);
END $$;
GRANT EXECUTE ON FUNCTION remove_run_content(text) TO bulkhead_app;

-- What each policy in force says about keeping, one row for each kind of content that it removes, with the days after the end of a run.
CREATE FUNCTION retention_in_force() RETURNS TABLE (profile text, version int, what text, days int) LANGUAGE sql STABLE AS $$
  SELECT h.profile, h.version, v.what, v.days
    FROM policy_heads h
    JOIN policies x ON x.tenant_id = h.tenant_id AND x.profile = h.profile AND x.version = h.version
   CROSS JOIN LATERAL (SELECT x.document->'settings'->'retention' AS keeps, x.document->'settings'->'audit'->>'arguments' AS audit) s
   CROSS JOIN LATERAL (VALUES
     ('arguments', CASE WHEN s.audit = 'digest' THEN 0 ELSE (s.keeps->>'argumentsDays')::int END),
     ('answers', (s.keeps->>'answersDays')::int),
     ('content', (s.keeps->>'runsDays')::int)) AS v (what, days)
   WHERE h.tenant_id = app_tenant() AND v.days >= 0;
$$;
GRANT EXECUTE ON FUNCTION retention_in_force() TO bulkhead_app;

-- One batch: at most p.runs runs and p.calls calls or so, oldest first. Takes no lock that a call waits for; of two at once one is told
-- `busy`. Only for a tenant that is active: what is suspended or being offboarded stays as it is until somebody decides.
-- A minute is the shortest time, so that a call that was being admitted when its run ended is over too.
CREATE FUNCTION remove_content(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  k record; run text; gone jsonb; n int; records int := 0; calls int := (p->>'calls')::int; runs int := (p->>'runs')::int;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  IF NOT pg_try_advisory_xact_lock(4, hashtext(p->>'tenantId')) THEN RETURN '{"kind":"busy"}'; END IF;
  IF NOT EXISTS (SELECT FROM tenants t WHERE t.id = app_tenant() AND t.status = 'active') THEN RETURN '{"kind":"held"}'; END IF;
  FOR k IN SELECT f.*, f.what || '_removed_at' AS mark FROM retention_in_force() f ORDER BY f.profile, f.what LOOP
    FOR run IN EXECUTE format($due$
      SELECT x.id FROM runs x JOIN agents a ON a.tenant_id = x.tenant_id AND a.id = x.agent_id
       WHERE x.tenant_id = app_tenant() AND a.policy_profile = $1
         AND x.finished_at IS NOT NULL AND (x.%1$I IS NULL OR x.%1$I < x.finished_at)
         AND x.finished_at < now() - greatest(make_interval(days => $2), interval '1 minute') AND run_is_over(x)
       ORDER BY x.finished_at LIMIT $3 FOR UPDATE OF x SKIP LOCKED $due$, k.mark) USING k.profile, k.days, runs
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
GRANT EXECUTE ON FUNCTION remove_content(jsonb) TO bulkhead_app;

-- As before; a run whose answers were removed cannot be opened again: its calls would find nothing to return, and must not be repeated.
CREATE OR REPLACE FUNCTION request_run(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp AS $$
DECLARE
  r runs; q run_requests; asked text := p->>'kind'; request bigint;
  resetting jsonb := '{"message":"The run is being reset."}';
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_shared(p->>'tenantId');
  SELECT * INTO r FROM runs x WHERE x.tenant_id = app_tenant() AND x.id = p->>'runId' FOR UPDATE;
  IF NOT FOUND THEN RETURN '{"kind":"not_found"}'; END IF;

  IF p->>'idempotencyKey' IS NOT NULL THEN
    SELECT * INTO q FROM run_requests x WHERE x.tenant_id = app_tenant() AND x.run_id = r.id AND x.kind = asked
       AND x.idempotency_key = p->>'idempotencyKey';
  ELSE
    SELECT * INTO q FROM run_requests x WHERE x.tenant_id = app_tenant() AND x.run_id = r.id AND x.kind = asked
       AND x.done_at IS NULL AND x.idempotency_key IS NULL LIMIT 1;
  END IF;
  IF FOUND THEN
    IF q.digest IS DISTINCT FROM decode(p->>'digest', 'hex') THEN RETURN '{"kind":"conflict"}'; END IF;
    RETURN jsonb_build_object('kind', 'accepted', 'created', false);
  END IF;

  IF asked = 'reset' THEN
    IF r.started_at IS NULL THEN RETURN '{"kind":"not_started"}'; END IF;
    IF r.answers_removed_at IS NOT NULL THEN RETURN '{"kind":"answers_removed"}'; END IF;
    IF EXISTS (SELECT FROM run_requests x WHERE x.tenant_id = app_tenant() AND x.run_id = r.id AND x.kind = 'reset' AND x.done_at IS NULL) THEN
      RETURN '{"kind":"resetting"}';
    END IF;
  ELSIF asked NOT IN ('cancel', 'terminate', 'signal') THEN
    RAISE EXCEPTION 'unknown request %', asked;
  ELSIF r.finished_at IS NOT NULL THEN
    RETURN '{"kind":"finished"}';
  END IF;

  INSERT INTO run_requests (tenant_id, run_id, kind, idempotency_key, digest, reason, actor, detail)
  VALUES (app_tenant(), r.id, asked, p->>'idempotencyKey', decode(p->>'digest', 'hex'), p->>'reason', p->>'actor', p->'detail')
  RETURNING id INTO request;
  INSERT INTO outbox (tenant_id, kind, run_id, payload) VALUES (app_tenant(), asked, r.id, jsonb_build_object('request', request::text));
  PERFORM journal('control', r.id, NULL, jsonb_build_object('change', 'run_' || asked, 'state', 'requested', 'request', request::text,
    'by', p->>'actor', 'reason', p->>'reason') || coalesce(p->'shown', '{}'));
  IF asked = 'reset' AND r.finished_at IS NOT NULL THEN
    UPDATE runs SET state = 'running', reason = resetting, result = NULL, finished_at = NULL WHERE tenant_id = app_tenant() AND id = r.id;
    PERFORM journal('run', r.id, NULL, jsonb_build_object('state', 'running', 'reason', resetting));
  END IF;
  PERFORM pg_notify('bulkhead_outbox', '');
  PERFORM pg_notify('bulkhead_runs', json_build_array(json_build_object('tenantId', p->>'tenantId', 'runId', r.id))::text);
  RETURN jsonb_build_object('kind', 'accepted', 'created', true);
END $$;
