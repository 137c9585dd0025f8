-- What a channel is told of one task comes in its order, also where a message has to be tried again.

-- task_id: of a digest, and of what was written before, none.
ALTER TABLE delivery ADD COLUMN task_id uuid;
CREATE INDEX delivery_task ON delivery (channel_id, task_id, serial);

-- What is due to a channel, whatever is due to others.
CREATE INDEX delivery_of_channel ON delivery (channel_id, due_at) WHERE NOT held;
