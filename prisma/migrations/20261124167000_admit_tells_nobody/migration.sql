-- A commit that notifies takes a lock of the whole database, so no call may do it: what an admit asks for, and what it voids
-- by that, is told by the sealer, which finds its record. Voids of the control process have one too. What a person decides and
-- what expires is told at its commit, as before.
DROP TRIGGER tell_new ON approvals;
DROP TRIGGER tell_state ON approvals;
CREATE TRIGGER tell_state AFTER UPDATE OF state ON approvals FOR EACH ROW
  WHEN (OLD.state IS DISTINCT FROM NEW.state AND NEW.state <> 'void') EXECUTE FUNCTION tell_change('approvals');
