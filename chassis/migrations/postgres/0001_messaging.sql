-- Events that wait to be published, in the order of their ids (UUIDv7).
CREATE TABLE outbox (
    event_id TEXT PRIMARY KEY,
    envelope TEXT NOT NULL,
    lease_until_ms BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0
);

-- Events that have been handled, for as long as they may come again.
CREATE TABLE inbox (
    event_id TEXT PRIMARY KEY,
    handled_at_ms BIGINT NOT NULL
);

-- Events that could not be handled, with the reason, for an operator.
CREATE TABLE parked (
    event_id TEXT PRIMARY KEY,
    envelope TEXT NOT NULL,
    reason TEXT NOT NULL,
    parked_at_ms BIGINT NOT NULL
);
