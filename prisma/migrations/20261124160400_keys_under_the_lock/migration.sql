-- Crypto-shredding takes the lock that a rotation takes. Without it the erasing statement does not see the key that a rotation
-- commits meanwhile, and leaves it alive. In a function, so that the statement begins after the lock is had.
CREATE FUNCTION destroy_tenant_keys(p_tenant text, p_actor text, p_reason text) RETURNS int LANGUAGE plpgsql VOLATILE
SET search_path = public, pg_temp AS $$
DECLARE gone int;
BEGIN
  PERFORM pg_advisory_xact_lock(2, hashtext(p_tenant));
  UPDATE tenant_keys SET wrapped = '', state = 'destroyed' WHERE tenant_id = p_tenant AND state <> 'destroyed';
  GET DIAGNOSTICS gone = ROW_COUNT;
  IF gone > 0 THEN
    INSERT INTO journal_records (tenant_id, kind, body) VALUES (p_tenant, 'control',
      jsonb_build_object('change', 'tenant_keys_destroyed', 'keys', gone, 'actor', p_actor, 'reason', p_reason));
  END IF;
  RETURN gone;
END $$;
GRANT EXECUTE ON FUNCTION destroy_tenant_keys(text, text, text) TO bulkhead_control;
