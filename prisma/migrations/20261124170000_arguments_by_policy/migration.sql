-- A policy may say that of the arguments of a call only their digest is kept. What an approval shows is kept all the same: a person
-- decides on it.
ALTER TABLE effects ALTER COLUMN request DROP NOT NULL;

-- As before; the intent says when the arguments are not kept. Its digest proves them all the same, and a request that is to be kept
-- has to be there.
CREATE OR REPLACE FUNCTION write_intent(p jsonb, p_window text, p_approval text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
  keep boolean := p->>'keepArguments' IS DISTINCT FROM 'false';
  sealed bytea := CASE WHEN keep THEN decode(p->>'request', 'base64') END;
BEGIN
  IF keep AND sealed IS NULL THEN RAISE EXCEPTION 'effect % has no request to keep', p->>'key'; END IF;
  INSERT INTO effects (tenant_id, key, run_id, workflow_id, temporal_run_id, tool_id, tool_version, effect_class, idempotency,
    holder_host, holder_token, policy_version, rule, approval_id, grant_id, target, "window", charged, request, deadline_at)
  VALUES (app_tenant(), p->>'key', p->>'runId', p->>'workflowId', p->>'temporalRunId', p->>'toolId', (p->>'toolVersion')::int,
    p->>'effectClass', p->>'idempotency', p->>'host', p->>'token', (p->>'policyVersion')::int, p->>'rule', p_approval, p->>'grantId',
    p->>'target', p_window, 1, sealed, now() + make_interval(secs => (p->>'timeoutMs')::numeric / 1000))
  ON CONFLICT (tenant_id, key) DO UPDATE SET state = 'open', outcome = NULL, closed_at = NULL, holder_ended = false, opened_at = now(),
    temporal_run_id = excluded.temporal_run_id, tool_version = excluded.tool_version, effect_class = excluded.effect_class, idempotency = excluded.idempotency,
    holder_host = excluded.holder_host, holder_token = excluded.holder_token, policy_version = excluded.policy_version, rule = excluded.rule,
    approval_id = excluded.approval_id, grant_id = excluded.grant_id, target = excluded.target, "window" = excluded."window",
    charged = 1, request = excluded.request, deadline_at = excluded.deadline_at
    WHERE effects.state = 'released';
  IF NOT FOUND THEN RAISE EXCEPTION 'effect % is neither new nor released', p->>'key'; END IF;
  INSERT INTO journal_records (tenant_id, kind, run_id, key, body) VALUES (app_tenant(), 'intent', p->>'runId', p->>'key',
    jsonb_build_object('toolId', p->>'toolId', 'toolVersion', (p->>'toolVersion')::int,
    'effectClass', p->>'effectClass', 'idempotency', p->>'idempotency', 'target', p->>'target', 'policyVersion', (p->>'policyVersion')::int,
    'rule', p->>'rule', 'approvalId', p_approval, 'grantId', p->>'grantId', 'host', p->>'host', 'digest', p->>'digest')
    || CASE WHEN keep THEN jsonb_build_object('requestDigest', encode(sha256(sealed), 'hex')) ELSE '{"arguments":"digest"}' END
    || CASE WHEN p ? 'observed' THEN jsonb_build_object('observed', p->'observed') ELSE '{}' END
    || CASE WHEN p ? 'costMicros' THEN jsonb_build_object('costMicros', (p->>'costMicros')::bigint) ELSE '{}' END
    || CASE WHEN p ? 'limits' THEN jsonb_build_object('limits', p->'limits') ELSE '{}' END);
END $$;
