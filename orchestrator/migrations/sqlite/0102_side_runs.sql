-- Runs beside a cluster's main one: each has a claim of its own. Which run of its operation it is is part of what it is known by.
CREATE TABLE runs_new (
    run_id TEXT PRIMARY KEY,
    cluster TEXT NOT NULL,
    revision BIGINT NOT NULL,
    operation TEXT NOT NULL,
    action TEXT NOT NULL,
    generation BIGINT NOT NULL,
    -- Which run of the operation it is, from 0.
    step BIGINT NOT NULL DEFAULT 0,
    -- Whether it changes nothing, and so stands beside others.
    side BIGINT NOT NULL DEFAULT 0,
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
    -- What the run is called because of, as JSON; empty where it is nothing in particular.
    event TEXT NOT NULL DEFAULT '',
    -- An action's arguments, as JSON.
    arguments TEXT NOT NULL DEFAULT '{}',
    UNIQUE (operation, action, generation, step)
);
INSERT INTO runs_new (run_id, cluster, revision, operation, action, generation, required, deadline_at_ms, state,
    attempt, result, cancel_wanted, machine, supervisor_pid, supervisor_start, created_at_ms, said_at_ms, event)
SELECT run_id, cluster, revision, operation, action, generation, required, deadline_at_ms, state, attempt,
    result, cancel_wanted, machine, supervisor_pid, supervisor_start, created_at_ms, said_at_ms, event FROM runs;
DROP TABLE runs;
ALTER TABLE runs_new RENAME TO runs;
CREATE INDEX runs_by_cluster ON runs (cluster, created_at_ms);
CREATE INDEX runs_by_state ON runs (state);

-- What is claimed: a cluster for its main run, or a run beside it.
CREATE TABLE claims (
    claim_key TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);
INSERT INTO claims (claim_key, run_id, owner, until_ms) SELECT cluster, run_id, owner, until_ms FROM leases;
DROP TABLE leases;
ALTER TABLE claims RENAME TO leases;

-- A client's command line for an endpoint, as JSON; empty: none is given.
ALTER TABLE outputs ADD COLUMN connect TEXT NOT NULL DEFAULT '';
-- Withdrawn, and kept until the run's end has told it once more.
ALTER TABLE outputs ADD COLUMN withdrawn BIGINT NOT NULL DEFAULT 0;
