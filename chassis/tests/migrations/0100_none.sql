-- How often an event's handler has run to its end.
CREATE TABLE handled (event_id TEXT NOT NULL, times BIGINT NOT NULL, PRIMARY KEY (event_id));
