-- A Hello that a scheduler reads late must not take the place of a connection that its executor made after it.

-- process: of the executor that the node last registered with. connection: which of its connections.
ALTER TABLE node ADD COLUMN process uuid, ADD COLUMN connection bigint NOT NULL DEFAULT 0;
