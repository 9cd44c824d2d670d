-- What the product's containers may do on the machine, as JSON; NULL: nobody has said anything.
ALTER TABLE products ADD COLUMN container_rights TEXT;

-- The framework's last word on how many agents have a container engine, as JSON. One row at most.
CREATE TABLE engines (
    one BIGINT PRIMARY KEY CHECK (one = 1),
    told TEXT NOT NULL,
    heard_at_ms BIGINT NOT NULL
);
