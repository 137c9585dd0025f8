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

-- name: sessions ()
-- Of role `database`, here: pools are named by what they are for.
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'dts';

-- name: due_and_not_running (now)
-- What a backup held as due and not over. What its node had started is left: the node itself knows how it ended.
SELECT id, attempt FROM run
WHERE started_at IS NULL AND least(scheduled_at, not_before) <= $1::timestamptz
ORDER BY id
FOR UPDATE;

-- name: describe ()
SELECT
    (SELECT max(version) FROM schema_migration) AS schema_version,
    current_setting('server_version') AS server_version,
    clock_timestamp() AS now,
    (SELECT count(*) FROM run) AS live_runs,
    (SELECT now() - min(claim_at) FROM run
     WHERE state = 'pending' AND claim_at IS NOT NULL AND claim_at < now()) AS oldest_wait,
    (SELECT max(now() - xact_start) FROM pg_stat_activity
     WHERE datname = current_database() AND backend_xmin IS NOT NULL AND pid <> pg_backend_pid()) AS oldest_snapshot,
    (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS transaction_age,
    (SELECT count(*) FROM notice) + (SELECT count(*) FROM delivery) AS unsent,
    now() - least((SELECT min(at) FROM notice), (SELECT min(created_at) FROM delivery WHERE NOT held)) AS oldest_unsent;

-- name: keep_some ()
-- Of a partition that goes: what is among the last 10 successes or the last 50 failures of its task. Put aside before the
-- partition is detached, because that locks all of history.
CREATE TEMPORARY TABLE kept ON COMMIT DROP AS
WITH ranked AS (
    SELECT
        scheduled_at, id, task_id, state = 'succeeded' AS good, CASE WHEN state = 'succeeded' THEN 10 ELSE 50 END AS most,
        row_number() OVER (PARTITION BY task_id, state = 'succeeded' ORDER BY scheduled_at DESC, id) AS place,
        max(scheduled_at) OVER (PARTITION BY task_id, state = 'succeeded') AS newest
    FROM partition_name
    WHERE state IN ('succeeded', 'failed', 'timed_out')
)
SELECT old.*
FROM ranked JOIN partition_name AS old USING (scheduled_at, id)
WHERE ranked.place <= ranked.most AND ranked.place + (
    SELECT count(*) FROM (
        SELECT FROM run_history newer
        WHERE newer.task_id = ranked.task_id AND newer.scheduled_at > ranked.newest
            AND newer.state IN ('succeeded', 'failed', 'timed_out') AND (newer.state = 'succeeded') = ranked.good
        LIMIT 50
    ) AS later
) <= ranked.most;

-- name: prune_rest (oldest)
-- What was kept of dropped days goes when newer runs have taken its place among the last ones.
DELETE FROM run_history_rest AS old
WHERE old.finished_at < $1::timestamptz AND CASE
    WHEN old.state = 'succeeded' THEN 10 <= (
        SELECT count(*) FROM (
            SELECT FROM run_history newer
            WHERE newer.task_id = old.task_id AND newer.scheduled_at > old.scheduled_at AND newer.state = 'succeeded'
            LIMIT 10
        ) AS successes
    )
    ELSE 50 <= (
        SELECT count(*) FROM (
            SELECT FROM run_history newer
            WHERE newer.task_id = old.task_id AND newer.scheduled_at > old.scheduled_at
                AND newer.state <> 'succeeded' AND newer.state IN ('failed', 'timed_out')
            LIMIT 50
        ) AS failures
    )
END
RETURNING old.id;
