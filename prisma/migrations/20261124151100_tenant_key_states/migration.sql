-- The same rule in two constraints: which states there are is a fact of one column, and tools read it from there.
ALTER TABLE tenant_keys DROP CONSTRAINT tenant_keys_state;
ALTER TABLE tenant_keys ADD CONSTRAINT tenant_keys_state CHECK (state IN ('active', 'retired', 'destroyed'));
ALTER TABLE tenant_keys ADD CONSTRAINT tenant_keys_erased CHECK ((state = 'destroyed') = (length(wrapped) = 0));
