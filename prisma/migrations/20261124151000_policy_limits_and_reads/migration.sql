-- What a policy counts, what a run has read, and the line that keeps both.

-- Counts and running totals of limit rules. They are only ever changed inside admit and settle.
CREATE TABLE "policy_counters" (
    "tenant_id" TEXT NOT NULL,
    "profile" TEXT NOT NULL,
    "rule" TEXT NOT NULL,
    "scope" TEXT NOT NULL,
    "window" TEXT NOT NULL,
    "used" DECIMAL(40,15) NOT NULL DEFAULT 0,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "policy_counters_pkey" PRIMARY KEY ("tenant_id","profile","rule","scope","window")
);

-- Classes of data that a root run has read: it never forgets one.
CREATE TABLE "run_reads" (
    "tenant_id" TEXT NOT NULL,
    "run_id" TEXT NOT NULL,
    "data_class" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "run_reads_pkey" PRIMARY KEY ("tenant_id","run_id","data_class")
);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['policy_counters', 'run_reads'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant_only ON %I TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant())', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE (used) ON policy_counters TO bulkhead_app;
GRANT SELECT, INSERT ON run_reads TO bulkhead_app;

-- What the call took from limit rules, to give it back when it was provably not sent; NULL: nothing.
ALTER TABLE effects ADD COLUMN reserved jsonb;

-- A child run's id begins with its parent's: what it reads, the whole tree has read.
CREATE FUNCTION root_run(p_run text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT split_part(p_run, '/', 1) $$;

CREATE FUNCTION note_reads(e effects, p_classes jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE fresh text[];
BEGIN
  WITH noted AS (
    INSERT INTO run_reads (tenant_id, run_id, data_class, key)
    SELECT app_tenant(), root_run(e.run_id), class, e.key FROM jsonb_array_elements_text(p_classes) AS class ORDER BY class
    ON CONFLICT DO NOTHING RETURNING data_class
  ) SELECT array_agg(data_class) INTO fresh FROM noted;
  IF fresh IS NOT NULL THEN
    PERFORM journal('run', e.run_id, e.key, jsonb_build_object('read', to_jsonb(fresh)));
  END IF;
END $$;

-- What rules may ask of the run's past. Only what is closed with `ok` has happened.
CREATE FUNCTION run_facts(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  RETURN jsonb_build_object(
    'read', (SELECT coalesce(jsonb_agg(x.data_class), '[]') FROM run_reads x WHERE x.tenant_id = app_tenant() AND x.run_id = root_run(p->>'runId')),
    'done', (SELECT coalesce(jsonb_agg(DISTINCT x.tool_id), '[]') FROM effects x WHERE x.tenant_id = app_tenant() AND x.run_id = p->>'runId'
               AND x.state = 'closed' AND x.outcome = 'ok' AND x.tool_id IN (SELECT jsonb_array_elements_text(p->'tools'))));
END $$;

CREATE FUNCTION limit_window(p_per text) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE p_per WHEN 'ever' THEN 'ever' ELSE p_per || ' ' || to_char(date_trunc(p_per, now() AT TIME ZONE 'UTC'), 'YYYY-MM-DD"T"HH24:MI') END;
$$;

-- Takes every limit in the order given, or none: a conditional update per limit is the reservation, so that what is read
-- is what is taken. The order is the same for every call of a tenant, so two calls never wait for each other.
CREATE FUNCTION reserve_limits(p_limits jsonb, r runs, p_profile text, OUT taken jsonb, OUT refused jsonb) LANGUAGE plpgsql VOLATILE AS $$
DECLARE l jsonb; at_scope text; at_window text; now_used numeric; amount numeric; most numeric;
BEGIN
  taken := '[]';
  FOR l IN SELECT x FROM jsonb_array_elements(p_limits) AS x LOOP
    amount := (l->>'amount')::numeric;
    most := (l->>'max')::numeric;
    IF amount < 0 THEN RAISE EXCEPTION 'a limit cannot be taken backwards'; END IF;
    at_scope := (l->>'of') || CASE l->>'of' WHEN 'tenant' THEN '' WHEN 'workspace' THEN ':' || r.workspace_id
      WHEN 'agent' THEN ':' || r.agent_id WHEN 'run' THEN ':' || root_run(r.id) END;
    at_window := limit_window(l->>'per');
    INSERT INTO policy_counters AS c (tenant_id, profile, rule, scope, "window", used)
    SELECT app_tenant(), p_profile, l->>'rule', at_scope, at_window, amount WHERE amount <= most
    ON CONFLICT (tenant_id, profile, rule, scope, "window") DO UPDATE SET used = c.used + excluded.used WHERE c.used + excluded.used <= most
    RETURNING used INTO now_used;
    IF now_used IS NULL THEN
      PERFORM refund_limits(taken);
      SELECT coalesce(max(c.used), 0) INTO now_used FROM policy_counters c WHERE c.tenant_id = app_tenant() AND c.profile = p_profile
         AND c.rule = l->>'rule' AND c.scope = at_scope AND c."window" = at_window;
      refused := jsonb_build_object('rule', l->>'rule', 'limit', most, 'used', now_used, 'resetsAt', CASE WHEN l->>'per' <> 'ever' THEN
        to_char(date_trunc(l->>'per', now() AT TIME ZONE 'UTC') + ('1 ' || (l->>'per'))::interval, 'YYYY-MM-DD"T"HH24:MI:SS"Z"') END);
      RETURN;
    END IF;
    taken := taken || jsonb_build_object('profile', p_profile, 'rule', l->>'rule', 'scope', at_scope, 'window', at_window, 'amount', amount);
  END LOOP;
END $$;

CREATE FUNCTION refund_limits(p_taken jsonb) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE t jsonb;
BEGIN
  FOR t IN SELECT x FROM jsonb_array_elements(p_taken) AS x LOOP
    UPDATE policy_counters SET used = greatest(used - (t->>'amount')::numeric, 0) WHERE tenant_id = app_tenant() AND profile = t->>'profile'
       AND rule = t->>'rule' AND scope = t->>'scope' AND "window" = t->>'window';
  END LOOP;
END $$;

CREATE FUNCTION refuse_limit(p jsonb, p_refused jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE why jsonb := jsonb_strip_nulls(p_refused || jsonb_build_object('layer', 'policy',
  'message', format('Rule %s allows no more than %s%s.', p_refused->>'rule', p_refused->>'limit',
    CASE WHEN p_refused->>'resetsAt' IS NULL THEN '' ELSE ' until ' || (p_refused->>'resetsAt') END)));
BEGIN
  INSERT INTO decisions (tenant_id, run_id, key, tool_id, kind, policy_version, reason)
  VALUES (app_tenant(), p->>'runId', p->>'key', p->>'toolId', 'budget_exceeded', (p->>'policyVersion')::int, why);
  PERFORM journal('decision', p->>'runId', p->>'key', why || jsonb_build_object('decision', 'budget_exceeded', 'toolId', p->>'toolId',
    'policyVersion', (p->>'policyVersion')::int));
  PERFORM show_run(p->>'runId', 'budget_exceeded', why);
  RETURN jsonb_build_object('kind', 'limit_reached', 'reason', why);
END $$;

-- As before; what was asked under another decision is void, and only an approved row lets a call through.
CREATE OR REPLACE FUNCTION require_approval(p jsonb, OUT answer jsonb, OUT approval_id text) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  o jsonb := p->'approval';
  a approvals;
  wanted text[] := ARRAY(SELECT jsonb_array_elements_text(o->'approvers'));
  why jsonb;
BEGIN
  SELECT * INTO a FROM approvals x
   WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' AND x.digest = decode(p->>'digest', 'hex')
     AND x.rule = p->>'rule' AND x.approvers = wanted AND x.state <> 'void'
   ORDER BY x.created_at DESC LIMIT 1 FOR UPDATE;
  IF NOT FOUND THEN
    -- what was asked about this call under another rule, for other approvers or for other arguments decides nothing now
    UPDATE approvals SET state = 'void' WHERE tenant_id = app_tenant() AND key = p->>'key' AND state IN ('pending', 'approved') AND consumed_at IS NULL;
    INSERT INTO approvals (tenant_id, id, run_id, key, digest, tool_id, tool_version, target, rule, approvers, request, requested_by, expires_at)
    VALUES (app_tenant(), o->>'newApprovalId', p->>'runId', p->>'key', decode(p->>'digest', 'hex'), p->>'toolId',
      (p->>'toolVersion')::int, p->>'target', p->>'rule', wanted, decode(p->>'request', 'base64'), o->>'requestedBy',
      now() + make_interval(secs => (o->>'expiresInSeconds')::int))
    RETURNING * INTO a;
    why := jsonb_build_object('message', format('Rule %s wants a person to approve this call.', a.rule), 'rule', a.rule, 'approvalId', a.id,
      'resetsAt', to_char(a.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
    INSERT INTO decisions (tenant_id, run_id, key, tool_id, kind, policy_version, reason)
    VALUES (app_tenant(), p->>'runId', p->>'key', p->>'toolId', 'approval_required', (p->>'policyVersion')::int, why);
    PERFORM journal('approval', p->>'runId', p->>'key', jsonb_build_object('approvalId', a.id, 'state', 'pending', 'rule', a.rule,
      'toolId', a.tool_id, 'target', a.target, 'digest', p->>'digest', 'policyVersion', (p->>'policyVersion')::int));
  END IF;
  approval_id := a.id;
  IF a.state = 'rejected' THEN
    answer := jsonb_build_object('kind', 'approval_rejected', 'approvalId', a.id, 'reason', a.reason);
  ELSIF a.consumed_at IS NULL AND a.expires_at <= now() THEN
    answer := jsonb_build_object('kind', 'approval_expired', 'approvalId', a.id);
  ELSIF a.state = 'pending' THEN
    PERFORM show_run(p->>'runId', 'approval_required', jsonb_build_object(
      'message', format('Rule %s wants a person to approve this call.', a.rule), 'rule', a.rule, 'approvalId', a.id,
      'resetsAt', to_char(a.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')));
    answer := jsonb_build_object('kind', 'approval_required', 'approvalId', a.id,
      'expiresAt', to_char(a.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
  ELSIF a.state <> 'approved' THEN
    RAISE EXCEPTION 'approval % is %, which decides nothing', a.id, a.state;
  END IF;
END $$;

-- As before; the record also says what an observed policy would have refused, and what was counted.
CREATE OR REPLACE FUNCTION write_intent(p jsonb, p_window text, p_approval text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
  INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
    holder_host, holder_token, policy_version, rule, approval_id, grant_id, target, "window", charged, request, deadline_at)
  VALUES (app_tenant(), p->>'key', p->>'runId', p->>'workflowId', p->>'temporalRunId', p->>'toolId', (p->>'toolVersion')::int,
    p->>'effectClass', p->>'idempotency', p->>'host', p->>'token', (p->>'policyVersion')::int, p->>'rule', p_approval, p->>'grantId',
    p->>'target', p_window, 1, decode(p->>'request', 'base64'), now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000))
  ON CONFLICT (tenant_id, key) DO UPDATE SET state = 'open', outcome = NULL, closed_at = NULL, holder_ended = false, opened_at = now(),
    temporal_run_id = excluded.temporal_run_id, tool_version = excluded.tool_version, idempotency = excluded.idempotency,
    holder_host = excluded.holder_host, holder_token = excluded.holder_token, policy_version = excluded.policy_version, rule = excluded.rule,
    approval_id = excluded.approval_id, grant_id = excluded.grant_id, target = excluded.target, "window" = excluded."window",
    charged = 1, request = excluded.request, deadline_at = excluded.deadline_at
    WHERE effects.state = 'released';
  IF NOT FOUND THEN RAISE EXCEPTION 'effect % is neither new nor released', p->>'key'; END IF;
  PERFORM journal('intent', p->>'runId', p->>'key', jsonb_build_object('toolId', p->>'toolId', 'toolVersion', (p->>'toolVersion')::int,
    'effectClass', p->>'effectClass', 'idempotency', p->>'idempotency', 'target', p->>'target', 'policyVersion', (p->>'policyVersion')::int,
    'rule', p->>'rule', 'approvalId', p_approval, 'grantId', p->>'grantId', 'host', p->>'host', 'digest', p->>'digest',
    'requestDigest', encode(sha256(decode(p->>'request', 'base64')), 'hex'))
    || CASE WHEN p ? 'observed' THEN jsonb_build_object('observed', p->'observed') ELSE '{}' END
    || CASE WHEN p ? 'limits' THEN jsonb_build_object('limits', p->'limits') ELSE '{}' END);
END $$;

-- As before, with the limits of the policy beside the tenant's own quota. A tenant without limit rules pays nothing for them.
CREATE OR REPLACE FUNCTION admit(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  e effects; r runs; s record; q record; ap record; l record; approval text; found_effect boolean; holder_gone boolean;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  -- first the locks, so that every later statement sees what a kill or a publish committed while we waited
  PERFORM lock_tenant_shared(p->>'tenantId');
  PERFORM pg_advisory_xact_lock(3, hashtext((p->>'tenantId') || '/' || (p->>'key')));
  IF NOT EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND NOT h.fenced) THEN RETURN '{"kind":"fenced"}'; END IF;

  SELECT * INTO e FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' FOR UPDATE;
  found_effect := FOUND;
  IF found_effect AND e.state = 'closed' THEN RETURN closed_answer(e); END IF;

  SELECT * INTO r FROM runs x WHERE x.tenant_id = app_tenant() AND x.id = p->>'runId';
  IF NOT FOUND OR r.finished_at IS NOT NULL THEN RETURN '{"kind":"run_ended"}'; END IF;
  IF EXISTS (SELECT FROM journal_records j WHERE j.tenant_id = app_tenant() AND j.seq IS NULL AND j.at < now() - interval '30 seconds') THEN
    RETURN '{"kind":"journal_lagging"}';
  END IF;

  IF found_effect AND e.state = 'open' AND (e.holder_host, e.holder_token) IS DISTINCT FROM (p->>'host', p->>'token') THEN
    holder_gone := e.holder_ended OR NOT EXISTS (SELECT FROM hosts h WHERE h.id = e.holder_host AND NOT h.fenced);
    IF NOT holder_gone THEN RETURN '{"kind":"held"}'; END IF;
    IF e.idempotency = 'none' THEN
      -- it may have been sent, and the receiver cannot tell a repeat: never again, charged in full
      PERFORM close_effect(e.key, e.run_id, 'indeterminate', NULL, p->>'host');
      RETURN '{"kind":"indeterminate"}';
    END IF;
  END IF;

  SELECT * INTO s FROM refuse_stale(p);
  IF s.answer IS NOT NULL THEN RETURN s.answer; END IF;

  IF found_effect AND e.state = 'open' THEN
    UPDATE effects SET holder_host = p->>'host', holder_token = p->>'token', holder_ended = false, temporal_run_id = p->>'temporalRunId',
      deadline_at = now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000)
     WHERE tenant_id = app_tenant() AND key = e.key;
    PERFORM show_run(p->>'runId', 'running', NULL);
    RETURN jsonb_build_object('kind', 'admitted', 'repeat', holder_gone IS TRUE, 'secretVersion', s.secret_version);
  END IF;

  IF p->'approval' IS NOT NULL AND jsonb_typeof(p->'approval') = 'object' THEN
    SELECT * INTO ap FROM require_approval(p);
    IF ap.answer IS NOT NULL THEN RETURN ap.answer; END IF;
    approval := ap.approval_id;
  END IF;

  SELECT * INTO q FROM reserve_tool_call();
  IF NOT q.granted THEN RETURN refuse_budget(p, q.call_limit, q.call_used); END IF;
  IF p->'limits' IS NOT NULL THEN
    SELECT * INTO l FROM reserve_limits(p->'limits', r, p->>'policyProfile');
    IF l.refused IS NOT NULL THEN
      PERFORM refund_tool_call(q.call_window, 1);
      RETURN refuse_limit(p, l.refused);
    END IF;
  END IF;
  UPDATE approvals SET consumed_at = coalesce(consumed_at, now()) WHERE tenant_id = app_tenant() AND id = approval;
  PERFORM write_intent(p, q.call_window, approval);
  IF p->'limits' IS NOT NULL THEN
    UPDATE effects SET reserved = l.taken WHERE tenant_id = app_tenant() AND key = p->>'key';
  END IF;
  PERFORM show_run(p->>'runId', 'running', NULL);
  RETURN jsonb_build_object('kind', 'admitted', 'repeat', false, 'secretVersion', s.secret_version);
END $$;

-- As before; an answer also says what the run has read, and what was not sent gives back what it took from limits.
CREATE OR REPLACE FUNCTION settle(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE e effects;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  SELECT * INTO e FROM effects x WHERE x.tenant_id = app_tenant() AND x.key = p->>'key' FOR UPDATE;
  IF NOT FOUND OR (e.holder_host, e.holder_token) IS DISTINCT FROM (p->>'host', p->>'token')
     OR EXISTS (SELECT FROM hosts h WHERE h.id = p->>'host' AND h.fenced) THEN
    RETURN '{"kind":"not_holder"}';
  END IF;
  IF e.state <> 'open' THEN
    RETURN jsonb_build_object('kind', 'settled', 'state', CASE WHEN e.outcome = 'indeterminate' THEN 'indeterminate' ELSE e.state END);
  END IF;
  CASE p->>'ending'
    WHEN 'not_sent' THEN
      UPDATE effects SET state = 'released', holder_ended = true, charged = 0, reserved = NULL, closed_at = now() WHERE tenant_id = app_tenant() AND key = e.key;
      PERFORM refund_tool_call(e."window", e.charged);
      IF e.reserved IS NOT NULL THEN PERFORM refund_limits(e.reserved); END IF;
      PERFORM journal('release', e.run_id, e.key, jsonb_build_object('by', p->>'host'));
      RETURN '{"kind":"settled","state":"released"}';
    WHEN 'unknown' THEN
      IF e.idempotency = 'none' THEN
        PERFORM close_effect(e.key, e.run_id, 'indeterminate', NULL, p->>'host');
        RETURN '{"kind":"settled","state":"indeterminate"}';
      END IF;
      UPDATE effects SET holder_ended = true WHERE tenant_id = app_tenant() AND key = e.key;
      RETURN '{"kind":"settled","state":"open"}';
    WHEN 'answered' THEN
      -- before the result is given to anybody: from its next call on, the run has read this
      IF p->'reads' IS NOT NULL THEN PERFORM note_reads(e, p->'reads'); END IF;
      PERFORM close_effect(e.key, e.run_id, p->>'outcome', decode(p->>'result', 'base64'), p->>'host');
      RETURN '{"kind":"settled","state":"closed"}';
    ELSE
      RAISE EXCEPTION 'unknown ending %', p->>'ending';
  END CASE;
END $$;

GRANT EXECUTE ON FUNCTION root_run(text), note_reads(effects, jsonb), run_facts(jsonb), limit_window(text), refund_limits(jsonb),
  refuse_limit(jsonb, jsonb), reserve_limits(jsonb, runs, text) TO bulkhead_app;
