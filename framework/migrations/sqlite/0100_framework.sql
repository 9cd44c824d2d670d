-- What belongs to the framework as a whole: its id at Mesos, the registry that it serves.
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Clusters that are wanted, or are being released.
CREATE TABLE clusters (
    cluster_id TEXT PRIMARY KEY,
    document TEXT NOT NULL
);

-- The revision of each that is in force.
CREATE TABLE specifications (
    cluster_id TEXT PRIMARY KEY,
    document TEXT NOT NULL
);

-- Nodes: the last observation and its sequence, and what the next attempt needs to know.
CREATE TABLE nodes (
    cluster_id TEXT NOT NULL,
    node TEXT NOT NULL,
    position BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (cluster_id, node)
);

-- Attempts. One that has ended is kept for a while, so that it is recognised when it is heard of again.
CREATE TABLE tasks (
    task_id TEXT PRIMARY KEY,
    cluster_id TEXT NOT NULL,
    node TEXT NOT NULL,
    ended_at_ms BIGINT,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX tasks_one_per_node ON tasks (cluster_id, node) WHERE ended_at_ms IS NULL;

-- Addresses (scope: the pool) and ports (scope: the agent) of tasks that are not confirmed to have ended.
CREATE TABLE leases (
    kind TEXT NOT NULL,
    scope TEXT NOT NULL,
    value TEXT NOT NULL,
    task_id TEXT NOT NULL,
    PRIMARY KEY (kind, scope, value)
);
CREATE INDEX leases_by_task ON leases (task_id);

-- The uid of a cluster's workloads on a machine.
CREATE TABLE uids (
    machine TEXT NOT NULL,
    uid BIGINT NOT NULL,
    cluster_id TEXT NOT NULL,
    PRIMARY KEY (machine, uid),
    UNIQUE (machine, cluster_id)
);

-- Persistent volumes, also those that outlive their cluster.
CREATE TABLE volumes (
    volume_id TEXT PRIMARY KEY,
    cluster_id TEXT NOT NULL,
    document TEXT NOT NULL
);

-- Agents that have made an offer.
CREATE TABLE agents (
    agent_id TEXT PRIMARY KEY,
    document TEXT NOT NULL
);
