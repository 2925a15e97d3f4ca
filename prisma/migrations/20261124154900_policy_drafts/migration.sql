-- Policies that are being written. A draft decides nothing; publishing it puts exactly the revision that was read in force.
CREATE TABLE "policy_drafts" (
    "tenant_id" TEXT NOT NULL,
    "profile" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "revision" INTEGER NOT NULL DEFAULT 1,
    "base_version" INTEGER NOT NULL,
    "document" JSONB NOT NULL,
    "note" TEXT NOT NULL,
    "saved_by" TEXT NOT NULL,
    "saved_at" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "policy_drafts_pkey" PRIMARY KEY ("tenant_id","profile","name")
);
ALTER TABLE policy_drafts ENABLE ROW LEVEL SECURITY;
ALTER TABLE policy_drafts FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_only ON policy_drafts TO bulkhead_app USING (tenant_id = app_tenant()) WITH CHECK (tenant_id = app_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON policy_drafts TO bulkhead_app;
SELECT make_erasable('policy_drafts');

-- A published version stays as it was published.
REVOKE UPDATE ON policies FROM bulkhead_app;

-- Whether a document only takes away from another: every rule is still there as it was, and each new one denies or asks.
CREATE FUNCTION only_narrows(p_from jsonb, p_to jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
  SELECT coalesce(p_to->>'mode' = 'frozen', false)
    AND NOT EXISTS (SELECT x FROM jsonb_array_elements(p_from->'rules') AS x EXCEPT SELECT x FROM jsonb_array_elements(p_to->'rules') AS x)
    AND NOT EXISTS (SELECT FROM (SELECT x FROM jsonb_array_elements(p_to->'rules') AS x EXCEPT SELECT x FROM jsonb_array_elements(p_from->'rules') AS x) AS added
                     WHERE coalesce(added.x->>'effect', '') NOT IN ('deny', 'ask'));
$$;

-- A publish waits for admits in flight; the new version decides every later one. `baseVersion`: what the writer had read;
-- `draft` and `revision`: the draft that is used up; `unfreeze`: the caller changes the mode, and nothing else.
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
  IF document->>'mode' = 'frozen' AND only_narrows(document, p->'document') IS NOT TRUE
     AND (coalesce((p->>'unfreeze')::boolean, false) AND document->'rules' = p->'document'->'rules') IS NOT TRUE THEN
    RETURN '{"kind":"frozen"}';
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
GRANT EXECUTE ON FUNCTION only_narrows(jsonb, jsonb) TO bulkhead_app;
