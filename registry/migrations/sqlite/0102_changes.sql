-- What is wanted of a node: the revision that describes it, its incarnation, whether it gives its agent up, and whether it
-- is wanted no more and its release awaited.
ALTER TABLE nodes ADD COLUMN wanted_revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE nodes ADD COLUMN wanted_incarnation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN elsewhere BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN leaving BIGINT NOT NULL DEFAULT 0;
-- The revision that brought the node: facts of earlier ones are about another node of the same name.
ALTER TABLE nodes ADD COLUMN born_revision BIGINT NOT NULL DEFAULT 1;
-- What its newest observation is of.
ALTER TABLE nodes ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
ALTER TABLE nodes ADD COLUMN incarnation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN restarts BIGINT NOT NULL DEFAULT 0;
-- What the script was last told of it (`fresh`, `good`, `lost`).
ALTER TABLE nodes ADD COLUMN told_attempt BIGINT;
ALTER TABLE nodes ADD COLUMN told_restarts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE nodes ADD COLUMN told TEXT NOT NULL DEFAULT 'fresh';
-- Of clusters whose nodes were all configured: as they are. Nodes that were started anew since are configured once more.
UPDATE nodes SET restarts = json_extract(observation, '$.restarts') WHERE observation IS NOT NULL;
UPDATE nodes SET told_attempt = attempt, told_restarts = restarts
    WHERE attempt > 0 AND EXISTS (SELECT 1 FROM clusters c WHERE c.id = nodes.cluster_id
        AND json_extract(c.record, '$.attempts') = json_extract(c.record, '$.configured_attempts'));
UPDATE nodes SET told_attempt = 0 WHERE attempt > 0 AND told_attempt IS NULL;

-- What a revision says beside its specification; NULL: what the cluster's record says.
ALTER TABLE revisions ADD COLUMN terms TEXT;

-- Nodes that are being configured again.
UPDATE clusters SET record = replace(record, '"status":"ready","reconfiguring":true',
    '"status":"ready","work":{"operation":"' || json_extract(record, '$.operation')
    || '","kind":"reconfigure","by":"user","steps":[{"step":"run","action":"start","required":true,"limit_ms":'
    || json_extract(record, '$.life.start_ms') || ',"tells":"everyone"}],"done":0}')
    WHERE json_extract(record, '$.state.reconfiguring') = 1;
