-- A browser session ends with the token or key that asked for it, at the latest. NULL: the proof has no end of its own.
ALTER TABLE sessions ADD COLUMN proof_ends_at timestamptz(3);
ALTER TABLE operator_sessions ADD COLUMN proof_ends_at timestamptz(3);
