-- What a user asked for with an operation on a ready cluster, sealed: so it is begun again.
CREATE TABLE asked (
    operation_id TEXT COLLATE "C" PRIMARY KEY,
    cluster_id TEXT COLLATE "C" NOT NULL,
    sealed TEXT NOT NULL
);
CREATE INDEX asked_by_cluster ON asked (cluster_id);
