-- What a channel sends to and signs with is sealed by the scheduler.

-- The first byte says how. 0: not at all, the key of 32 bytes and then the target; made before there were seals.
ALTER TABLE channel ADD COLUMN sealed bytea;
UPDATE channel SET sealed = '\x00'::bytea || signing_key || convert_to(target, 'UTF8');
ALTER TABLE channel ALTER COLUMN sealed SET NOT NULL, DROP COLUMN target, DROP COLUMN signing_key;
