-- Which operations are the same request, begun again: all of one name the operation that was the first. Beside the
-- operations' views, so that a replica of an earlier release, which writes those anew, does not lose it.
CREATE TABLE retries (
    operation_id TEXT PRIMARY KEY,
    cluster_id TEXT NOT NULL,
    first_id TEXT NOT NULL
);
CREATE INDEX retries_by_first ON retries (first_id);
CREATE INDEX retries_by_cluster ON retries (cluster_id);
INSERT INTO retries (operation_id, cluster_id, first_id)
WITH RECURSIVE again AS (
    SELECT id, cluster_id, json_extract(view, '$.retry_of') AS former FROM operations WHERE json_extract(view, '$.retry_of') IS NOT NULL
), family (id, cluster_id, first_id) AS (
    SELECT id, cluster_id, former FROM again WHERE former NOT IN (SELECT id FROM again)
    UNION ALL
    SELECT again.id, again.cluster_id, family.first_id FROM again JOIN family ON again.former = family.id
)
SELECT id, cluster_id, first_id FROM family;
-- Backups that have gone are remembered for a while, and forgotten by their age.
CREATE INDEX backups_gone ON backups (at_ms) WHERE removing = 2;
