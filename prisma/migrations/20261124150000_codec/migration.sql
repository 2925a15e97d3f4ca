-- A tenant key is active (one per tenant: new values are sealed with it), retired (opens what it sealed) or destroyed: its
-- wrapped bytes are erased and only the fact remains. The tenant door may retire a key; erasing is the control door's, and
-- no statement of either brings bytes back, for a destroyed key has none.
ALTER TABLE tenant_keys ADD CONSTRAINT tenant_keys_state CHECK (
  state IN ('active', 'retired', 'destroyed') AND (state = 'destroyed') = (length(wrapped) = 0));
CREATE UNIQUE INDEX tenant_keys_active ON tenant_keys (tenant_id) WHERE state = 'active';
GRANT UPDATE (state) ON tenant_keys TO bulkhead_app;

CREATE POLICY control_all ON tenant_keys TO bulkhead_control USING (true) WITH CHECK (true);
GRANT SELECT (tenant_id, key_id, state), UPDATE (wrapped, state) ON tenant_keys TO bulkhead_control;
