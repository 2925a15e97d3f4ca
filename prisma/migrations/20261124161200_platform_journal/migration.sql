-- Operators of the platform belong to no tenant, so no tenant's journal can say who made or ended one. Each change of a row
-- writes a record here, in its own transaction and as the owner: no role that a process has can write, change or remove one.
-- Records are chained: a hash is over the one before, the number, the time and the text of the body.
ALTER TABLE platform_operators ADD COLUMN revoked_by text;
GRANT UPDATE (revoked_by) ON platform_operators TO bulkhead_control;
CREATE TABLE platform_journal (
  seq bigint NOT NULL,
  at timestamptz(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  body jsonb NOT NULL,
  prev_hash bytea NOT NULL,
  hash bytea NOT NULL,
  CONSTRAINT platform_journal_pkey PRIMARY KEY (seq)
);
GRANT SELECT ON platform_journal TO bulkhead_control;

CREATE FUNCTION platform_record_hash(p_prev bytea, p_seq bigint, p_at timestamptz, p_body jsonb) RETURNS bytea
  LANGUAGE sql IMMUTABLE AS $$
  SELECT sha256(p_prev || convert_to(p_seq || ' ' || (extract(epoch FROM p_at) * 1000)::bigint || ' ' || p_body::text, 'UTF8'))
$$;
GRANT EXECUTE ON FUNCTION platform_record_hash(bytea, bigint, timestamptz, jsonb) TO bulkhead_control;

CREATE FUNCTION note_operator() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  last platform_journal;
  record jsonb := jsonb_build_object('operator', NEW.id, 'name', NEW.name,
    'change', CASE WHEN TG_OP = 'INSERT' THEN 'operator_created' WHEN NEW.revoked_at IS NULL THEN 'operator_restored' ELSE 'operator_revoked' END,
    'by', CASE WHEN TG_OP = 'INSERT' THEN NEW.created_by ELSE coalesce(NEW.revoked_by, 'unknown') END,
    'kind', CASE WHEN NEW.hash IS NULL THEN 'person' ELSE 'key' END, 'expiresAt', NEW.expires_at);
  now_at timestamptz(3) := clock_timestamp();
BEGIN
  -- one at a time, so that each knows the one before
  LOCK TABLE platform_journal IN SHARE ROW EXCLUSIVE MODE;
  SELECT * INTO last FROM platform_journal ORDER BY seq DESC LIMIT 1;
  INSERT INTO platform_journal (seq, at, body, prev_hash, hash)
  VALUES (coalesce(last.seq, 0) + 1, now_at, record, coalesce(last.hash, '\x00'),
    platform_record_hash(coalesce(last.hash, '\x00'), coalesce(last.seq, 0) + 1, now_at, record));
  RETURN NULL;
END $$;
CREATE TRIGGER note_operator AFTER INSERT OR UPDATE OF revoked_at ON platform_operators
  FOR EACH ROW EXECUTE FUNCTION note_operator();
