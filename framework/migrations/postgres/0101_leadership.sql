-- Who of several replicas leads. The token grows with every change of the leader; what is written under an older one is
-- refused. Instants of this table are the database's own on Postgres.
CREATE TABLE leadership (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    holder TEXT NOT NULL,
    token BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    url TEXT NOT NULL
);
INSERT INTO leadership (one, holder, token, expires_at_ms, url) VALUES (1, '', 0, 0, '');
