-- What a run is about, as JSON; empty where it is about nothing in particular.
ALTER TABLE runs ADD COLUMN event TEXT NOT NULL DEFAULT '';
-- The run that published it: its end tells it once more.
ALTER TABLE outputs ADD COLUMN run_id TEXT NOT NULL DEFAULT '';
