-- node_target  the containers and services of a node in which commands can run, as its executor last told.

CREATE TABLE node_target (
    target        text NOT NULL,                -- container/NAME or service/NAME
    node_id       text NOT NULL REFERENCES node ON DELETE CASCADE,
    PRIMARY KEY (target, node_id)
);

CREATE INDEX node_target_node ON node_target (node_id);
