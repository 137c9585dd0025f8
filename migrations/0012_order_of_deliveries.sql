-- What a channel is told of one task comes in its order, also where a message has to be tried again.

-- task_id: of a digest, and of what was written before, none.
ALTER TABLE delivery ADD COLUMN task_id uuid;
CREATE INDEX delivery_task ON delivery (channel_id, task_id, serial);
