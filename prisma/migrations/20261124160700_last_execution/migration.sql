-- Which of Temporal's executions a run ended with: another one that is open or has closed since was opened by a reset from outside.
ALTER TABLE runs ADD COLUMN closed_execution TEXT;
GRANT UPDATE (closed_execution) ON runs TO bulkhead_control;
