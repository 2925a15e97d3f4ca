-- The audit of a tenant is the part of its journal that is about no single effect: a small part, which a reader must find
-- without passing the rest.
CREATE INDEX journal_records_audit_idx ON journal_records (tenant_id, id) WHERE kind IN ('control', 'refusal');
