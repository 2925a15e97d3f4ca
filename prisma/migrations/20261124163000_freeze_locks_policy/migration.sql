-- A freeze of the tenant holds its policy as well: whoever was stopped must not be let through by a new rule meanwhile.

-- As before, and everything beside the rules (the mode among it) has to stay as it is. An absent mode is `enforce`.
CREATE OR REPLACE FUNCTION only_narrows(p_from jsonb, p_to jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT '{"mode":"enforce"}' || (p_from - 'rules') = '{"mode":"enforce"}' || (p_to - 'rules')
    AND NOT EXISTS (SELECT x FROM jsonb_array_elements(p_from->'rules') AS x EXCEPT SELECT x FROM jsonb_array_elements(p_to->'rules') AS x)
    AND NOT EXISTS (SELECT FROM (SELECT x FROM jsonb_array_elements(p_to->'rules') AS x EXCEPT SELECT x FROM jsonb_array_elements(p_from->'rules') AS x) AS added
                     WHERE coalesce(added.x->>'effect', '') NOT IN ('deny', 'ask'));
$$;

-- As before, and while a freeze of the whole tenant is in force every profile takes only what narrows; a profile that has no
-- policy yet takes none. The stop is read under the lock under which it was made.
CREATE OR REPLACE FUNCTION publish_policy(p jsonb) RETURNS jsonb LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
  next_version int; in_force int; document jsonb;
BEGIN
  PERFORM set_config('app.tenant', p->>'tenantId', true);
  PERFORM lock_tenant_exclusive();
  SELECT h.version, x.document INTO in_force, document FROM policy_heads h
    JOIN policies x ON x.tenant_id = h.tenant_id AND x.profile = h.profile AND x.version = h.version
   WHERE h.tenant_id = app_tenant() AND h.profile = p->>'profile';
  IF p->>'baseVersion' IS NOT NULL AND (p->>'baseVersion')::int <> coalesce(in_force, 0) THEN
    RETURN jsonb_build_object('kind', 'moved', 'version', coalesce(in_force, 0));
  END IF;
  IF only_narrows(document, p->'document') IS NOT TRUE THEN
    IF EXISTS (SELECT FROM control_stops s WHERE s.tenant_id = app_tenant() AND s.scope = 'tenant' AND s.target = '' AND s.state = 'frozen'
         AND s.resumed_at IS NULL) THEN
      RETURN '{"kind":"tenant_frozen"}';
    END IF;
    IF document->>'mode' = 'frozen' AND (coalesce((p->>'unfreeze')::boolean, false) AND document->'rules' = p->'document'->'rules') IS NOT TRUE THEN
      RETURN '{"kind":"frozen"}';
    END IF;
  END IF;
  IF p->>'draft' IS NOT NULL THEN
    DELETE FROM policy_drafts d WHERE d.tenant_id = app_tenant() AND d.profile = p->>'profile' AND d.name = p->>'draft'
       AND d.revision = (p->>'revision')::int;
    IF NOT FOUND THEN RETURN '{"kind":"no_draft"}'; END IF;
  END IF;
  SELECT coalesce(max(x.version), 0) + 1 INTO next_version FROM policies x WHERE x.tenant_id = app_tenant() AND x.profile = p->>'profile';
  INSERT INTO policies (tenant_id, profile, version, document, published_by, reason)
  VALUES (app_tenant(), p->>'profile', next_version, p->'document', p->>'publishedBy', p->>'reason');
  INSERT INTO policy_heads (tenant_id, profile, version) VALUES (app_tenant(), p->>'profile', next_version)
  ON CONFLICT (tenant_id, profile) DO UPDATE SET version = excluded.version;
  PERFORM journal('control', NULL, NULL, jsonb_build_object('change', 'policy_published', 'profile', p->>'profile', 'version', next_version,
    'mode', coalesce(p->'document'->>'mode', 'enforce'), 'by', p->>'publishedBy', 'reason', p->>'reason'));
  RETURN jsonb_build_object('kind', 'published', 'version', next_version);
END $$;
