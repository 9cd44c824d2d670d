-- Runs beside a cluster's main one: each has a claim of its own. Which run of its operation it is is part of what it is known by.
ALTER TABLE runs ADD COLUMN step BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN side BIGINT NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN arguments TEXT NOT NULL DEFAULT '{}';
ALTER TABLE runs DROP CONSTRAINT runs_operation_action_generation_key;
ALTER TABLE runs ADD UNIQUE (operation, action, generation, step);

-- What is claimed: a cluster for its main run, or a run beside it.
ALTER TABLE leases RENAME COLUMN cluster TO claim_key;

-- A client's command line for an endpoint, as JSON; empty: none is given.
ALTER TABLE outputs ADD COLUMN connect TEXT NOT NULL DEFAULT '';
-- Withdrawn, and kept until the run's end has told it once more.
ALTER TABLE outputs ADD COLUMN withdrawn BIGINT NOT NULL DEFAULT 0;
