-- As before, and whoever told the run what to do by a signal, or sent it back by a reset, answers for its calls like the one who
-- started it: at any time, whether or not the order was carried out, and with any of their keys.
CREATE OR REPLACE FUNCTION decide_approval(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE a approvals;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_shared(p->>'tenantId');
  SELECT * INTO a FROM approvals x WHERE x.tenant_id = app_tenant() AND x.id = p->>'approvalId' FOR UPDATE;
  IF NOT FOUND THEN RETURN '{"kind":"not_found"}'; END IF;
  IF a.state <> 'pending' THEN RETURN jsonb_build_object('kind', 'not_pending', 'state', a.state); END IF;
  IF a.expires_at <= now() THEN RETURN '{"kind":"expired"}'; END IF;
  IF NOT (p->>'role' = ANY (a.approvers)) OR responsible_actor(a.requested_by) = responsible_actor(p->>'decidedBy')
     OR EXISTS (SELECT FROM run_requests q WHERE q.tenant_id = app_tenant() AND q.run_id IN (a.run_id, root_run(a.run_id))
                  AND q.kind IN ('signal', 'reset') AND q.origin = 'mutation' AND responsible_actor(q.actor) = responsible_actor(p->>'decidedBy')) THEN
    RETURN '{"kind":"not_approver"}';
  END IF;
  IF p->>'decision' NOT IN ('approved', 'rejected') THEN RAISE EXCEPTION 'unknown decision'; END IF;
  UPDATE approvals SET state = p->>'decision', decided_by = p->>'decidedBy', decided_at = now(), reason = p->>'reason'
   WHERE tenant_id = app_tenant() AND id = a.id;
  INSERT INTO outbox (tenant_id, kind, run_id, payload)
  VALUES (app_tenant(), 'signal', a.run_id, jsonb_build_object('signal', 'approvalDecided', 'args', COALESCE(p->'args', '[]')));
  PERFORM journal('approval', a.run_id, a.key, jsonb_build_object('approvalId', a.id, 'state', p->>'decision', 'by', p->>'decidedBy', 'reason', p->>'reason'));
  PERFORM pg_notify('bulkhead_outbox', '');
  RETURN jsonb_build_object('kind', 'decided', 'runId', a.run_id);
END $$;
