-- What the registry is told of a backup that is stored, as JSON, until it has said that it knows; then empty. Backups of
-- earlier releases were told once.
ALTER TABLE backups ADD COLUMN record TEXT NOT NULL DEFAULT '';
-- When it was told last.
ALTER TABLE backups ADD COLUMN told_at_ms BIGINT NOT NULL DEFAULT 0;
CREATE INDEX backups_untold ON backups (told_at_ms) WHERE record <> '';
