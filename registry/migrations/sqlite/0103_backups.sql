-- What a product's script can be asked for, as its publisher sent it.
ALTER TABLE products ADD COLUMN actions TEXT;

-- Products as they were when clusters were made of them, by their content hashes: a cluster is scaled by the template that
-- it was made of, whatever the catalog has now.
CREATE TABLE product_contents (
    revision TEXT PRIMARY KEY,
    content TEXT NOT NULL
);

-- Columns are what is searched by; `record` is the whole backup as JSON. They outlive their clusters.
CREATE TABLE backups (
    id TEXT PRIMARY KEY,
    cluster_id TEXT NOT NULL,
    user_name TEXT NOT NULL,
    product TEXT NOT NULL,
    -- The action of the schedule that made it; empty where it was made for another reason.
    schedule TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    -- Whether its bytes are to go.
    removing BIGINT NOT NULL DEFAULT 0,
    record TEXT NOT NULL
);
CREATE INDEX backups_by_user ON backups (user_name, at_ms, id);
CREATE INDEX backups_by_cluster ON backups (cluster_id, at_ms, id);
CREATE INDEX backups_by_removal ON backups (id) WHERE removing = 1;

-- Backups that a cluster may read beside those of its owner: an administrator named them in its launch.
CREATE TABLE backup_readers (
    backup_id TEXT NOT NULL,
    cluster_id TEXT NOT NULL,
    PRIMARY KEY (backup_id, cluster_id)
);
