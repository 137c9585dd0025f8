-- Partitions, retention and the state of the database.

-- name: clock ()
SELECT clock_timestamp();

-- name: partitions ()
SELECT parent.relname AS parent, child.relname AS name
FROM pg_inherits
JOIN pg_class child ON child.oid = inhrelid
JOIN pg_class parent ON parent.oid = inhparent
WHERE parent.relname IN ('run_history', 'log_chunk') AND child.relkind = 'r' AND child.relname ~ '_\d{8}$'
    AND parent.relnamespace = current_schema()::regnamespace;

-- name: describe ()
SELECT
    (SELECT max(version) FROM schema_migration) AS schema_version,
    current_setting('server_version') AS server_version,
    clock_timestamp() AS now,
    (SELECT count(*) FROM run) AS live_runs,
    (SELECT now() - min(claim_at) FROM run
     WHERE state = 'pending' AND claim_at IS NOT NULL AND claim_at < now()) AS oldest_wait;

-- name: keep_some ()
-- Of a partition that goes: what is among the last 10 successes or the last 50 failures of its task.
INSERT INTO run_history
SELECT old.* FROM partition_name AS old
WHERE (
    old.state = 'succeeded' AND 10 > (
        SELECT count(*) FROM (
            SELECT FROM run_history newer
            WHERE newer.task_id = old.task_id AND newer.scheduled_at > old.scheduled_at AND newer.state = 'succeeded'
            LIMIT 10
        ) AS successes
    )
) OR (
    old.state IN ('failed', 'timed_out') AND 50 > (
        SELECT count(*) FROM (
            SELECT FROM run_history newer
            WHERE newer.task_id = old.task_id AND newer.scheduled_at > old.scheduled_at
                AND newer.state IN ('failed', 'timed_out')
            LIMIT 50
        ) AS failures
    )
)
ON CONFLICT DO NOTHING;
