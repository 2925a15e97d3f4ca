-- Positions and hashes are the sealer's alone. With INSERT on the whole row a login of the tenant door could take the next
-- position, at which the sealer then fails for ever: the journal lags, and every call of that tenant is refused. `at` stays
-- writable, because the client fills in its default.
REVOKE INSERT ON journal_records FROM bulkhead_app;
GRANT INSERT (tenant_id, kind, run_id, key, body, at) ON journal_records TO bulkhead_app;
