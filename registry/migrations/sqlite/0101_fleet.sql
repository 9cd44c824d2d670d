-- When a cluster was destroyed, until its history has been forgotten.
ALTER TABLE clusters ADD COLUMN ended_at_ms BIGINT;
-- From today on for those that are destroyed already.
UPDATE clusters SET ended_at_ms = CAST(strftime('%s', 'now') AS BIGINT) * 1000 WHERE status = 'destroyed';
CREATE INDEX clusters_by_end ON clusters (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

-- For how long the newest word holds, in milliseconds; NULL: the node is told of on changes alone.
ALTER TABLE nodes ADD COLUMN holds_ms BIGINT;
-- Whether the cluster's history says that there is no word of the node.
ALTER TABLE nodes ADD COLUMN silent BIGINT NOT NULL DEFAULT 0;

-- The event that told of an output: an earlier one that comes later does not replace it.
ALTER TABLE outputs ADD COLUMN event_id TEXT NOT NULL DEFAULT '';
