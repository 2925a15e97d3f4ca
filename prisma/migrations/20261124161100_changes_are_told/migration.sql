-- Whoever watches approvals or stops is told at the commit that there is something to read again: `<what> <tenant>`, no content.
CREATE FUNCTION tell_change() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM pg_notify('bulkhead_changes', TG_ARGV[0] || ' ' || NEW.tenant_id);
  RETURN NULL;
END $$;
CREATE TRIGGER tell_new AFTER INSERT ON approvals FOR EACH ROW EXECUTE FUNCTION tell_change('approvals');
CREATE TRIGGER tell_state AFTER UPDATE OF state ON approvals FOR EACH ROW
  WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION tell_change('approvals');
CREATE TRIGGER tell_new AFTER INSERT ON control_stops FOR EACH ROW EXECUTE FUNCTION tell_change('stops');
CREATE TRIGGER tell_change AFTER UPDATE OF ends, resumed_at ON control_stops FOR EACH ROW EXECUTE FUNCTION tell_change('stops');

-- What a tenant shows as its state: the strongest stop of the whole tenant, for its people and for operators of the platform.
GRANT SELECT (tenant_id, scope, state, resumed_at) ON control_stops TO bulkhead_control;
CREATE POLICY control_look ON control_stops FOR SELECT TO bulkhead_control USING (true);
CREATE FUNCTION shown_control_state(t tenants) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN t.control_state <> 'open' THEN t.control_state ELSE coalesce(
    (SELECT s.state FROM control_stops s WHERE t.stops > 0 AND s.tenant_id = t.id AND s.scope = 'tenant' AND s.resumed_at IS NULL
      ORDER BY array_position(ARRAY['killed', 'paused', 'read_only', 'frozen'], s.state) LIMIT 1), 'open') END
$$;
GRANT EXECUTE ON FUNCTION shown_control_state(tenants) TO bulkhead_app, bulkhead_control;
