-- The lines of an operation are those of its runs.
CREATE INDEX log_lines_by_run ON log_lines (run_id, sequence);
