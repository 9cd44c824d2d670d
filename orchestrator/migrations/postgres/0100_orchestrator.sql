-- Runs of products' scripts. A run is asked for by the registry, and known by operation, action and generation.
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    cluster TEXT NOT NULL,
    revision BIGINT NOT NULL,
    operation TEXT NOT NULL,
    action TEXT NOT NULL,
    generation BIGINT NOT NULL,
    required BIGINT NOT NULL,
    deadline_at_ms BIGINT NOT NULL,
    -- waiting, running or ended
    state TEXT NOT NULL,
    -- How often the script was begun.
    attempt BIGINT NOT NULL DEFAULT 0,
    -- The end as JSON; empty before it.
    result TEXT NOT NULL DEFAULT '',
    cancel_wanted BIGINT NOT NULL DEFAULT 0,
    -- The process that holds the script's tree, so that a successor can see whether it is gone.
    machine TEXT NOT NULL DEFAULT '',
    supervisor_pid BIGINT NOT NULL DEFAULT 0,
    supervisor_start BIGINT NOT NULL DEFAULT 0,
    created_at_ms BIGINT NOT NULL,
    -- When the end was last told.
    said_at_ms BIGINT NOT NULL DEFAULT 0,
    UNIQUE (operation, action, generation)
);
CREATE INDEX runs_by_cluster ON runs (cluster, created_at_ms);
CREATE INDEX runs_by_state ON runs (state);

-- Which replica drives a cluster, with which run, until when.
CREATE TABLE leases (
    cluster TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);

-- One row per cluster with a log: the last sequence that was given out, and since when the cluster is known to be gone.
CREATE TABLE log_heads (
    cluster TEXT PRIMARY KEY,
    last_sequence BIGINT NOT NULL,
    gone_since_ms BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE log_lines (
    cluster TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    run_id TEXT NOT NULL,
    action TEXT NOT NULL,
    stream TEXT NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (cluster, sequence)
);

-- What scripts published. A secret's value is sealed.
CREATE TABLE outputs (
    cluster TEXT NOT NULL,
    output_key TEXT NOT NULL,
    output_value TEXT NOT NULL,
    secret BIGINT NOT NULL,
    endpoint BIGINT NOT NULL,
    role TEXT NOT NULL,
    PRIMARY KEY (cluster, output_key)
);
