-- Backups' bytes in the store: written before the first byte is, so that what an interrupted upload left can be found.
CREATE TABLE backups (
    backup_id TEXT PRIMARY KEY,
    cluster TEXT NOT NULL,
    revision BIGINT NOT NULL,
    -- coming, stored, or dropped: an upload that came to nothing, whose bytes go
    state TEXT NOT NULL,
    -- Whose upload it is: the claim of the run.
    claim_key TEXT NOT NULL,
    run_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    -- What the store calls the upload, where it has a name for it.
    upload TEXT NOT NULL DEFAULT '',
    size BIGINT NOT NULL DEFAULT 0,
    sha256 TEXT NOT NULL DEFAULT '',
    created_at_ms BIGINT NOT NULL
);
CREATE INDEX backups_by_state ON backups (state);
