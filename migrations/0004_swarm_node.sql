-- swarm_node   what the managers of the Swarm say of its nodes, as the executor on one of them last told.

CREATE TABLE swarm_node (
    id            text PRIMARY KEY,
    hostname      text NOT NULL,
    availability  text NOT NULL,                -- active, pause or drain
    about         bytea NOT NULL                -- dts.v1.SwarmNode
);
