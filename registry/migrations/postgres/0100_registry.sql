-- Names and ids are compared byte by byte, as SQLite does.
-- What is said once about this registry (its identity).
CREATE TABLE registry_facts (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE products (
    name TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    description TEXT NOT NULL,
    logo_url TEXT NOT NULL,
    template TEXT,
    template_language TEXT NOT NULL,
    options TEXT,
    orchestrator TEXT,
    reach_network BIGINT NOT NULL,
    revision TEXT NOT NULL,
    PRIMARY KEY (name, version)
);

-- The last number given to a cluster; it outlives clusters and products.
CREATE TABLE numbers (
    user_name TEXT COLLATE "C" NOT NULL,
    product TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    last BIGINT NOT NULL,
    PRIMARY KEY (user_name, product, version)
);

-- Columns are what is searched by; `record` is the whole cluster as JSON.
CREATE TABLE clusters (
    id TEXT COLLATE "C" PRIMARY KEY,
    user_name TEXT COLLATE "C" NOT NULL,
    product TEXT COLLATE "C" NOT NULL,
    version TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    status TEXT NOT NULL,
    deadline_at_ms BIGINT,
    record TEXT NOT NULL,
    UNIQUE (user_name, product, version, number)
);
CREATE INDEX clusters_by_deadline ON clusters (deadline_at_ms) WHERE deadline_at_ms IS NOT NULL;
CREATE INDEX clusters_by_product ON clusters (product, version, status);
CREATE INDEX clusters_by_status ON clusters (status, id);

-- Immutable.
CREATE TABLE revisions (
    cluster_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    specification TEXT NOT NULL,
    PRIMARY KEY (cluster_id, revision)
);

CREATE TABLE secrets (
    cluster_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    sealed TEXT NOT NULL,
    PRIMARY KEY (cluster_id, name)
);

-- The newest observation of each node; what is counted stands in columns of its own.
CREATE TABLE nodes (
    cluster_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    health_declared BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    status TEXT NOT NULL,
    passing BIGINT,
    gave_up BIGINT NOT NULL,
    attempt BIGINT NOT NULL DEFAULT 0,
    observed_at_ms BIGINT,
    observation TEXT,
    PRIMARY KEY (cluster_id, name)
);

-- Columns are what is searched by; `view` is the whole operation as JSON.
CREATE TABLE operations (
    id TEXT COLLATE "C" PRIMARY KEY,
    cluster_id TEXT COLLATE "C" NOT NULL,
    user_name TEXT COLLATE "C" NOT NULL,
    view TEXT NOT NULL
);
CREATE INDEX operations_by_cluster ON operations (cluster_id, id);
CREATE INDEX operations_by_user ON operations (user_name, id);

-- A cluster's history, numbered from 1 without gaps.
CREATE TABLE events (
    cluster_id TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    event TEXT NOT NULL,
    PRIMARY KEY (cluster_id, sequence)
);

-- What a cluster's script published.
CREATE TABLE outputs (
    cluster_id TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    output TEXT NOT NULL,
    PRIMARY KEY (cluster_id, name)
);

CREATE TABLE idempotency_keys (
    user_name TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    request_hash TEXT NOT NULL,
    reply TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    PRIMARY KEY (user_name, idempotency_key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at_ms);
